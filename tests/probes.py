"""What real probers send, byte for byte, each by name; captured on loopback from the balancers themselves."""

V2_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
V2_TCP4_WITH_AWS_TLV = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x25"
    b"\xc0\x00\x02\x01\xc0\x00\x02\x0b\x12\x34\x23\x32"
    b"\xea\x00\x16\x01vpce-0123456789abcdef"
)
"The TLV 0xEA is the endpoint that AWS names."
V1_TCP4 = b"PROXY TCP4 192.0.2.1 192.0.2.11 40000 9010\r\n"

GO_HEADERS = b"Host: 127.0.0.1:9010\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n"

CLOSING = {
    "HAProxy, option httpchk": b"OPTIONS / HTTP/1.0\r\n\r\n",
    "HAProxy, option httpchk OPTIONS *": b"OPTIONS * HTTP/1.0\r\n\r\n",
    "HAProxy, option httpchk GET /health": b"GET /health HTTP/1.0\r\n\r\n",
    "HAProxy, option httpchk HEAD /health": b"HEAD /health HTTP/1.0\r\n\r\n",
    "HAProxy, http-check send ver HTTP/1.1": b"GET /health HTTP/1.1\r\nhost: web1\r\nconnection: close\r\n\r\n",
    "HAProxy, http-check send HEAD": b"HEAD /health HTTP/1.1\r\nhost: web1\r\nconnection: close\r\n\r\n",
    "HAProxy, check-send-proxy v2": V2_LOCAL + b"GET /health HTTP/1.0\r\n\r\n",
    "HAProxy, check-send-proxy v1": V1_TCP4 + b"GET /health HTTP/1.0\r\n\r\n",
    "HAProxy, v1 of an unknown connection": b"PROXY UNKNOWN\r\nGET /health HTTP/1.0\r\n\r\n",
    "AWS NLB with PROXY v2": V2_TCP4_WITH_AWS_TLV
    + b"GET /health HTTP/1.1\r\nHost: 192.0.2.5:80\r\nConnection: close\r\n\r\n",
    "AWS ALB": b"GET /health HTTP/1.1\r\nHost: 192.0.2.11:9010\r\nConnection: close\r\n"
    b"User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n",
    "F5, send string of its default monitor": b"GET /\r\n",
    "F5, bare path": b"GET /health\r\n",
    "SafeKit's path, by HTTP/1.0": b"GET /var/modules/apache/ready.txt HTTP/1.0\r\n\r\n",
    "a bare line feed": b"GET /health HTTP/1.0\n\n",
}
"Answered, and then closed by us."
STAYING = {
    "Caddy and Traefik": b"GET /health HTTP/1.1\r\n" + GO_HEADERS + b"\r\n",
    "HTTP/1.1 without Host": b"GET /health HTTP/1.1\r\n\r\n",
    "HTTP/1.0 that asks to stay": b"GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
    "absolute form": b"GET http://192.0.2.11:9010/health HTTP/1.1\r\nHost: 192.0.2.11\r\n\r\n",
    "a query string": b"GET /health?source=gslb HTTP/1.1\r\nHost: web1\r\n\r\n",
    "OPTIONS of the health path": b"OPTIONS /health HTTP/1.1\r\nHost: web1\r\n\r\n",
}
"Answered, and the connection stays."
PROBES = CLOSING | STAYING
