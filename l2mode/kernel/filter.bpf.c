// SPDX-License-Identifier: MIT OR GPL-2.0
/* The packet filter in the kernel: one decision, two entry points (XDP, and tc ingress).
 *
 * l2mode/core/classify.py says the same in Python and is the specification; the tests hold the two against each other,
 * frame by frame. The order of the rules and their reasons are explained there, in verdict.py and in reasons.py; here
 * are only the notes on how. l2mode/core/tables.py says what the memory holds, and writes it.
 *
 * What most of an attack's packets meet is the way to "not mine": a parse, a hash and loads. No helper of the kernel
 * is called on it, no clock is read and nothing is written but a counter of the processor's own.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the tables are little-endian"
#endif

#define NODES 64
#define VIPS 64
#define GROUPS 64
#define BUCKETS 4096
#define CLASSES 256
#define PORTS 65536
#define SLOT_BITS 12
#define ROWS 256
#define COLUMNS 32

#define PENDING 64
#define PASS_ON 128 /* beside the owner's number, on a node that is out of the view */
#define NOBODY 255

/* Columns of `fallback_rules`; the last one names nobody. */
#define TCP 0
#define UDP 1
#define ANY 2
#define NONE 3

#define BY_ADDRESS 0
#define BY_PORT 1

struct tables {
	__u64 lease;
	__u64 own_mac;
	__u64 virtual_mac;
	__u64 seed[2];
	__u64 vip_factor;
	__u64 dirty_anywhere;
	__u16 half;
	__u16 nodes;
	__u8 me;
	__u8 dirty;
	__u8 flooded;
	__u8 director_takes_unmatched;
	__u64 macs[NODES];
	__u64 vips[2 * VIPS];
	__u8 by[GROUPS];
	__u8 directors[2 * VIPS];
	__u8 fallback_rules[4 * VIPS];
	__u8 vip_slots[2 << SLOT_BITS];
	__u8 port_classes[PORTS];
	__u8 rules[2 * CLASSES * VIPS];
	__u8 cells[2 * GROUPS * BUCKETS];
	__u64 dirty_members[BUCKETS];
	__u64 counters[ROWS * COLUMNS];
};
_Static_assert(sizeof(struct tables) == 731136, "as Tables.SIZE");

struct tables tables SEC(".bss");

/* As Reason of reasons.py. */
enum reason {
	FOREIGN,
	NEIGHBOUR_DISCOVERY,
	NEW,
	KNOWN,
	HANDED_NEW,
	DIRECTOR_TAKES,
	ORPHAN,
	TO_OWNER,
	ALONG_DIRTY,
	NOT_MINE,
	LEFT_TO_DIRTY,
	END_OF_CHAIN,
	UNCLAIMED,
	LEASE_OVER,
	UNMATCHED,
	NOT_TO_ONE,
	MALFORMED,
	TTL_OVER,
	NO_MAC,
	PASSED_ON,
	TO_DIRECTOR,
};

/* As Action of reasons.py. */
enum action { PASS, TAKE, RESET, FORWARD, CHAIN, DROP };

#define SIGHT 256
#define MAX_EXTENSIONS 6

#define ETHERNET 14
#define MAC_MASK 0xffffffffffffULL
#define GROUP_BIT 0x01
#define CHAIN_MARK 0x02

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58
#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT 44
#define DESTINATION_OPTIONS 60

#define SYN 0x02
#define RST 0x04
#define ACK 0x10

#define TCP_TIME_WAIT 6
#define TCP_LISTEN 10

#define ETHERTYPE_IPV4 bpf_htons(0x0800)
#define ETHERTYPE_IPV6 bpf_htons(0x86dd)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

/* a + b. Where the parts of a sum share no bits, clang makes an OR of it, and of an OR whose one side is a known number
 * the verifiers of Linux 6.1 and before forget all bounds. */
static __always_inline __u32 sum(__u32 a, __u32 b)
{
	barrier_var(a);
	return a + b;
}

/* A number below `power`, a power of two, which the compiler knows already: said to the verifier once more. Verifiers
 * before Linux 6.8 forget the bounds of 32 bits that the compiler keeps on the stack for a while. */
static __always_inline __u32 below(__u32 power, __u32 number)
{
	barrier_var(number);
	return number & (power - 1);
}

/* Headers are rarely aligned. The kernel has the compiler's whole words read all the same, where the machine can
 * (HAVE_EFFICIENT_UNALIGNED_ACCESS: x86-64, arm64); no attribute may tell the compiler, or it reads byte by byte. */
#define WORD16(p) (*(__u16 *)(p))
#define WORD32(p) (*(__u32 *)(p))
#define WORD64(p) (*(__u64 *)(p))

struct address {
	__u64 low, high; /* IPv4: 32 bits and 0 */
};

struct ipv4 {
	__u8 version_size, tos;
	__u16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
};

struct ipv6 {
	__u32 version_flow;
	__u16 length;
	__u8 next, hops;
	struct address source, destination;
};

struct extension {
	__u8 next, size;
	__u16 offset;
	__u32 rest;
};

/* TCP's, of which UDP has the first two. */
struct transport {
	__u16 source, destination;
	__u32 sequence, acknowledgement;
	__u8 offset, flags;
	__u16 window, checksum, urgent;
};

/* What a share is found by, as Content of packets.py. Addresses and ports as they stand in the packet. */
struct content {
	struct address client;
	__u16 client_port, vip_port, ip_id;
	__u16 tcp_at; /* where the client's own TCP header begins, or 0 */
	__u8 flags;
};

/* The flags: a column of `fallback_rules`, and whatever is true of these. */
#define COLUMN 0x03
#define PORTLESS 0x04
#define HAS_ID 0x08
#define OPENS 0x10
#define ASKS_FOR_SOCKET 0x20

enum kind { READ, DISCOVERY, CUT };

struct verdict {
	enum reason reason;
	__u32 to;
};

/* -- the hash: SipHash-1-3, as hashing.py ------------------------------------------------------------------------- */

#define ROTATE(x, by) (((x) << (by)) | ((x) >> (64 - (by))))
#define ROUND                                          \
	do {                                           \
		v0 += v1;                              \
		v1 = ROTATE(v1, 13) ^ v0;              \
		v0 = ROTATE(v0, 32);                   \
		v2 += v3;                              \
		v3 = ROTATE(v3, 16) ^ v2;              \
		v0 += v3;                              \
		v3 = ROTATE(v3, 21) ^ v0;              \
		v2 += v1;                              \
		v1 = ROTATE(v1, 17) ^ v2;              \
		v2 = ROTATE(v2, 32);                   \
	} while (0)
#define ABSORB(w)                  \
	do {                       \
		__u64 _word = (w); \
		v3 ^= _word;       \
		ROUND;             \
		v0 ^= _word;       \
	} while (0)

/* The bucket of an address of 4 or 16 bytes, followed by `more`, of 0 or 2 bytes. */
static __always_inline __u32 bucket_of(struct address address, bool v6, __u16 more, bool has_more)
{
	__u64 v0 = tables.seed[0] ^ 0x736f6d6570736575ULL;
	__u64 v1 = tables.seed[1] ^ 0x646f72616e646f6dULL;
	__u64 v2 = tables.seed[0] ^ 0x6c7967656e657261ULL;
	__u64 v3 = tables.seed[1] ^ 0x7465646279746573ULL;
	__u64 last = has_more ? 2ULL << 56 : 0;

	if (v6) {
		ABSORB(address.low);
		ABSORB(address.high);
		last += 16ULL << 56 | more;
	} else {
		last += 4ULL << 56 | (__u64)more << 32 | address.low;
	}
	ABSORB(last);
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	return (v0 ^ v1 ^ v2 ^ v3) & (BUCKETS - 1);
}

/* -- reading the packet, as packets.py ---------------------------------------------------------------------------- */

/* True when `size` bytes are there at `at`, and within sight. Both bounds are for the verifier too: it follows a
 * variable offset only when that has a limit. */
#define THERE(at, size) ((at) <= SIGHT - (size) && data + (at) + (size) <= end)

/* Give a number back, and make the verifier forget what it knew of it: of bytes on the stack that are not aligned it
 * keeps no track (the high bit keeps it from remembering a zero). It would follow every way that leads to a place
 * separately to the end otherwise, and give up. */
static __always_inline __u16 forget(__u16 number)
{
	volatile struct {
		__u16 aligned, number;
	} box __attribute__((aligned(8)));

	box.number = number | 0x8000;
	return box.number & 0x7fff;
}

static __always_inline enum kind read_fragment(__u8 number, __u8 icmp, struct content *content)
{
	if (number == icmp)
		content->flags = PORTLESS | OPENS | ANY;
	else if (number == IPPROTO_TCP)
		content->flags = PORTLESS | TCP;
	else if (number == IPPROTO_UDP)
		content->flags = PORTLESS | OPENS | UDP;
	return READ;
}

static __always_inline enum kind read_quote(const void *data, const void *end, __u32 at, bool v6, struct address vip,
					    struct content *content)
{
	const struct transport *quoted;
	bool later = false, from_vip;
	__u8 number;

	if (!v6) {
		const struct ipv4 *ip = data + at;
		__u32 size;

		if (!THERE(at, sizeof(*ip)))
			return CUT;
		size = (ip->version_size & 0x0f) * 4;
		if (ip->version_size >> 4 != 4 || size < sizeof(*ip))
			return CUT;
		number = ip->protocol;
		later = ip->fragment & bpf_htons(0x1fff);
		from_vip = ip->source == vip.low;
		content->client = (struct address){ip->destination, 0};
		at += size;
	} else {
		const struct ipv6 *ip = data + at;

		if (!THERE(at, sizeof(*ip)))
			return CUT;
		if ((ip->version_flow & 0xf0) != 0x60)
			return CUT;
		number = ip->next;
		from_vip = ip->source.low == vip.low && ip->source.high == vip.high;
		content->client = ip->destination;
		at += sizeof(*ip);
		if (number == FRAGMENT) {
			const struct extension *fragment = data + at;

			if (!THERE(at, sizeof(*fragment)))
				return CUT;
			number = fragment->next;
			later = fragment->offset & bpf_htons(0xfff8);
			at += sizeof(*fragment);
		}
	}
	if ((number != IPPROTO_TCP && number != IPPROTO_UDP) || !from_vip)
		return READ;
	if (later) {
		content->flags = number == IPPROTO_TCP ? PORTLESS | TCP : PORTLESS | OPENS | UDP;
		return READ;
	}
	quoted = data + at;
	if (!THERE(at, 8))
		return CUT;
	content->flags = number == IPPROTO_TCP ? ASKS_FOR_SOCKET | TCP : OPENS | UDP;
	content->client_port = quoted->destination;
	content->vip_port = quoted->source;
	return READ;
}

static __always_inline enum kind read_icmp(const void *data, const void *end, __u32 at, bool v6, struct address vip,
					   struct content *content)
{
	__u8 type;

	if (!THERE(at, 8))
		return CUT;
	type = *(const __u8 *)(data + at);
	if (v6 && type >= 133 && type <= 137)
		return DISCOVERY;
	if (type == (v6 ? 128 : 8)) {
		content->flags = PORTLESS | OPENS | ANY;
		return READ;
	}
	if (v6 ? type < 1 || type > 4 : type != 3 && type != 11 && type != 12)
		return READ;
	return read_quote(data, end, at + 8, v6, vip, content);
}

static __always_inline enum kind read_transport(const void *data, const void *end, __u32 at, __u8 number,
						struct content *content)
{
	const struct transport *header = data + at;

	if (number == IPPROTO_TCP) {
		if (!THERE(at, sizeof(*header)))
			return CUT;
		content->tcp_at = at;
		content->flags |= ASKS_FOR_SOCKET | TCP;
		if ((header->flags & (SYN | ACK | RST)) == SYN)
			content->flags |= OPENS;
	} else {
		if (!THERE(at, 8))
			return CUT;
		content->flags |= OPENS | UDP;
	}
	content->client_port = header->source;
	content->vip_port = header->destination;
	return READ;
}

static __always_inline enum kind read_ipv4(const void *data, const void *end, struct content *content)
{
	const struct ipv4 *ip = data + ETHERNET;
	__u32 at = ETHERNET + sizeof(*ip);

	content->client = (struct address){ip->source, 0};
	if (unlikely(ip->version_size != 0x45)) {
		at = ETHERNET + (ip->version_size & 0x0f) * 4;
		if (ip->version_size >> 4 != 4 || at < ETHERNET + sizeof(*ip))
			return CUT;
	}
	if (unlikely(ip->fragment & bpf_htons(0x3fff)))
		return read_fragment(ip->protocol, IPPROTO_ICMP, content);
	if (likely(ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP)) {
		content->ip_id = ip->id;
		content->flags = HAS_ID;
		return read_transport(data, end, at, ip->protocol, content);
	}
	if (ip->protocol == IPPROTO_ICMP)
		return read_icmp(data, end, at, false, (struct address){ip->destination, 0}, content);
	return READ;
}

static __always_inline enum kind read_ipv6(const void *data, const void *end, struct content *content)
{
	const struct ipv6 *ip = data + ETHERNET;
	__u32 at = ETHERNET + sizeof(*ip);
	__u8 next;

	content->client = ip->source;
	if ((ip->version_flow & 0xf0) != 0x60)
		return CUT;
	next = ip->next;
#pragma clang loop unroll(disable)
	for (int walked = 0; walked < MAX_EXTENSIONS; walked++) {
		const struct extension *extension = data + at;
		__u8 kind = next;

		if (likely(kind != HOP_BY_HOP && kind != ROUTING && kind != DESTINATION_OPTIONS && kind != FRAGMENT))
			break;
		if (!THERE(at, sizeof(*extension)))
			return CUT;
		next = extension->next;
		if (kind != FRAGMENT)
			at = forget(at + (extension->size + 1) * 8);
		else if (extension->offset & bpf_htons(0xfff9))
			return read_fragment(next, IPPROTO_ICMPV6, content);
		else
			at = forget(at + sizeof(*extension));
	}
	if (likely(next == IPPROTO_TCP || next == IPPROTO_UDP)) {
		content->flags = 0;
		return read_transport(data, end, at, next, content);
	}
	if (next == IPPROTO_ICMPV6)
		return read_icmp(data, end, at, true, ip->destination, content);
	return READ;
}

/* -- looking up --------------------------------------------------------------------------------------------------- */

/* The number of the virtual IP, or NOBODY. */
static __always_inline __u32 vip_of(struct address address, bool v6)
{
	__u64 factor = tables.vip_factor;
	__u64 slot = ((address.high * factor ^ address.low) * factor) >> (64 - SLOT_BITS);
	__u32 vip = tables.vip_slots[(v6 ? 1 << SLOT_BITS : 0) + slot];

	if (vip >= VIPS || tables.vips[2 * vip] != address.low || tables.vips[2 * vip + 1] != address.high)
		return NOBODY;
	return vip;
}

#define MARKED 0x100

/* The number of the member that sent a frame, or NOBODY; with MARKED, if its MAC bears the mark. A global function,
 * which the verifier looks at by itself: what follows is not checked for each of 64 members anew. A MAC as it
 * stands counts before one that only the mark makes equal. */
__noinline __u32 sender_of(__u64 mac)
{
#pragma clang loop unroll(disable)
	for (__u32 node = 0; node < NODES && node < tables.nodes; node++)
		if (tables.macs[node] && tables.macs[node] == mac)
			return node;
#pragma clang loop unroll(disable)
	for (__u32 node = 0; node < NODES && node < tables.nodes; node++)
		if (tables.macs[node] && tables.macs[node] == (mac ^ CHAIN_MARK))
			return MARKED | node;
	return NOBODY;
}

/* True when a socket for the connection is here that is neither a listener nor in TIME_WAIT, or when this node sent
 * the SYN cookie that the packet brings back. */
static __always_inline bool known(void *ctx, const void *data, const void *end, bool v6, struct address vip,
				  const struct content *content)
{
	struct bpf_sock_tuple tuple = {};
	__u32 state, size, at = content->tcp_at;
	struct bpf_sock *sock;
	bool found;

	if (v6) {
		size = sizeof(tuple.ipv6);
		__builtin_memcpy(tuple.ipv6.saddr, &content->client, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &vip, 16);
		tuple.ipv6.sport = content->client_port;
		tuple.ipv6.dport = content->vip_port;
	} else {
		size = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = content->client.low;
		tuple.ipv4.daddr = vip.low;
		tuple.ipv4.sport = content->client_port;
		tuple.ipv4.dport = content->vip_port;
	}
	sock = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sock)
		return false;
	state = sock->state;
	found = state != TCP_LISTEN && state != TCP_TIME_WAIT;
	if (state == TCP_LISTEN && at && THERE(at, sizeof(struct transport)) && THERE(ETHERNET, sizeof(struct ipv6)))
		found = bpf_tcp_check_syncookie(sock, (void *)data + ETHERNET,
						v6 ? sizeof(struct ipv6) : sizeof(struct ipv4), (void *)data + at,
						sizeof(struct transport)) == 0;
	bpf_sk_release(sock);
	return found;
}

/* -- the decision, as verdict.py ---------------------------------------------------------------------------------- */

/* To the lowest of these members. Counting the bits below it finds its number without a branch. */
static __always_inline struct verdict along(__u64 members)
{
	__u64 bits = (members & -members) - 1;

	if (!members)
		return (struct verdict){.reason = END_OF_CHAIN};
	bits -= bits >> 1 & 0x5555555555555555ULL;
	bits = (bits & 0x3333333333333333ULL) + (bits >> 2 & 0x3333333333333333ULL);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (struct verdict){.reason = ALONG_DIRTY, .to = bits * 0x0101010101010101ULL >> 56};
}

static __always_inline struct verdict judge(void *ctx, const void *data, const void *end, bool v6, struct address vip,
					    const struct content *content, __u64 from, __u32 cell, __u32 bucket)
{
	bool mine = cell == tables.me, pending = cell == PENDING, other = !mine && !pending;
	bool flooded = tables.flooded, opens = content->flags & OPENS, chained, handed_to_me;
	__u32 sender = NOBODY;
	__u64 dirty_members;

	if (mine && opens)
		return (struct verdict){.reason = NEW};
	if (!flooded)
		sender = sender_of(from);
	chained = sender & MARKED;
	handed_to_me = other && sender != NOBODY && sender == cell;
	if ((tables.dirty || !other || handed_to_me) && content->flags & ASKS_FOR_SOCKET &&
	    known(ctx, data, end, v6, vip, content))
		return (struct verdict){.reason = KNOWN};
	dirty_members = READ_ONCE(tables.dirty_anywhere) | READ_ONCE(tables.dirty_members[bucket & (BUCKETS - 1)]);
	if (chained)
		return along(dirty_members & (~0ULL << (tables.me & 63)) << 1);
	if (handed_to_me && opens)
		return (struct verdict){.reason = HANDED_NEW};
	if ((mine || handed_to_me) && !dirty_members)
		return (struct verdict){.reason = ORPHAN};
	if ((mine || handed_to_me || pending) && dirty_members) {
		if (flooded)
			return (struct verdict){.reason = LEFT_TO_DIRTY};
		return along(dirty_members);
	}
	if (!flooded && sender == NOBODY) {
		if (other && cell != NOBODY)
			return (struct verdict){.reason = cell & PASS_ON ? PASSED_ON : TO_OWNER, .to = cell & (NODES - 1)};
		return (struct verdict){.reason = UNCLAIMED};
	}
	return (struct verdict){.reason = NOT_MINE};
}

/* What no share names is the director's, or nobody's. */
static __always_inline struct verdict judge_unmatched(__u32 director, __u64 from)
{
	if (!tables.director_takes_unmatched)
		return (struct verdict){.reason = UNMATCHED};
	if (director == tables.me)
		return (struct verdict){.reason = DIRECTOR_TAKES};
	if (!tables.flooded && director != NOBODY && sender_of(from) == NOBODY)
		return (struct verdict){.reason = TO_DIRECTOR, .to = director & (NODES - 1)};
	return (struct verdict){.reason = UNMATCHED};
}

/* All but what a frame may not be sent for and the lease. */
static __always_inline struct verdict consider(void *ctx, const void *data, const void *end)
{
	struct content content = {.flags = PORTLESS | NONE};
	__u64 to_mac, from_and_type;
	__u32 vip, rule, half, group, bucket, more = 0;
	bool v6, to_group, has_more = false;
	struct address address;
	enum kind kind;

	if (unlikely(data + ETHERNET + sizeof(struct ipv4) > end))
		return (struct verdict){.reason = FOREIGN};
	to_mac = WORD64(data) & MAC_MASK;
	from_and_type = WORD64(data + 6);
	to_group = to_mac & GROUP_BIT;
	if (to_mac != tables.own_mac && !(tables.flooded && to_mac == tables.virtual_mac) && !to_group)
		return (struct verdict){.reason = FOREIGN};

	if (from_and_type >> 48 == ETHERTYPE_IPV4) {
		const struct ipv4 *ip = data + ETHERNET;

		v6 = false;
		address = (struct address){ip->destination, 0};
		vip = vip_of(address, false);
		if (vip == NOBODY)
			return (struct verdict){.reason = FOREIGN};
		kind = read_ipv4(data, end, &content);
	} else if (from_and_type >> 48 == ETHERTYPE_IPV6) {
		const struct ipv6 *ip = data + ETHERNET;

		if (unlikely(data + ETHERNET + sizeof(*ip) > end))
			return (struct verdict){.reason = FOREIGN};
		v6 = true;
		address = ip->destination;
		vip = vip_of(address, true);
		if (vip == NOBODY)
			return (struct verdict){.reason = FOREIGN};
		kind = read_ipv6(data, end, &content);
	} else {
		return (struct verdict){.reason = FOREIGN};
	}

	if (kind == DISCOVERY)
		return (struct verdict){.reason = NEIGHBOUR_DISCOVERY};
	if (to_group)
		return (struct verdict){.reason = NOT_TO_ONE};
	if (kind == CUT)
		return (struct verdict){.reason = MALFORMED};

	content.flags = forget(content.flags);
	content.tcp_at = forget(content.tcp_at);
	vip &= VIPS - 1;
	half = READ_ONCE(tables.half) & 1;
	if (unlikely(content.flags & PORTLESS)) {
		group = tables.fallback_rules[sum(4 * vip, content.flags & COLUMN)];
	} else {
		rule = sum(2 * vip, content.flags & 1) * CLASSES;
		group = tables.rules[sum(rule, tables.port_classes[content.vip_port])];
	}
	if (unlikely(group >= GROUPS))
		return judge_unmatched(tables.directors[sum(half * VIPS, vip)], from_and_type & MAC_MASK);
	if (!(content.flags & PORTLESS) && tables.by[group] != BY_ADDRESS) {
		if (v6 || tables.by[group] == BY_PORT) {
			more = content.client_port;
			has_more = true;
		} else if (content.flags & HAS_ID) {
			more = content.ip_id;
			has_more = true;
		}
	}
	bucket = bucket_of(content.client, v6, more, has_more);
	return judge(ctx, data, end, v6, address, &content, from_and_type & MAC_MASK,
		     tables.cells[sum(sum(half * GROUPS, below(GROUPS, group)) * BUCKETS, bucket)], bucket);
}

static __always_inline enum action action_of(enum reason reason)
{
	switch (reason) {
	case FOREIGN:
	case NEIGHBOUR_DISCOVERY:
		return PASS;
	case NEW:
	case KNOWN:
	case HANDED_NEW:
	case DIRECTOR_TAKES:
		return TAKE;
	case ORPHAN:
		return RESET;
	case TO_OWNER:
	case PASSED_ON:
	case TO_DIRECTOR:
		return FORWARD;
	case ALONG_DIRTY:
		return CHAIN;
	default:
		return DROP;
	}
}

/* The field with the time to live, or NULL beyond the end. */
static __always_inline __u8 *ttl_of(void *data, const void *end)
{
	if (data + ETHERNET + sizeof(struct ipv4) > end)
		return NULL;
	if (WORD16(data + 12) == ETHERTYPE_IPV4)
		return data + ETHERNET + offsetof(struct ipv4, ttl);
	return data + ETHERNET + offsetof(struct ipv6, hops);
}

/* Give the frame its new MACs, and one hop less. */
static __always_inline void send_on(void *data, __u8 *ttl, __u64 to_mac, __u64 from_mac)
{
	__u16 before = WORD16(ttl);

	--*ttl;
	if (WORD16(data + 12) == ETHERTYPE_IPV4) {
		struct ipv4 *ip = data + ETHERNET;
		/* RFC 1624, equation 3 */
		__u32 sum = (__u16)~ip->checksum + (__u16)~before + WORD16(ttl);

		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		ip->checksum = ~sum;
	}
	WORD32(data) = to_mac;
	WORD16(data + 4) = to_mac >> 32;
	WORD32(data + 6) = from_mac;
	WORD16(data + 10) = from_mac >> 32;
}

static __always_inline struct verdict finish(struct verdict verdict, void *data, void *end)
{
	enum action action = action_of(verdict.reason);
	__u64 to_mac = 0;
	__u8 *ttl = NULL;

	if (action == FORWARD || action == CHAIN) {
		to_mac = tables.macs[verdict.to & (NODES - 1)];
		ttl = ttl_of(data, end);
		if (!to_mac)
			verdict = (struct verdict){.reason = NO_MAC};
		else if (!ttl || *ttl <= 1)
			verdict = (struct verdict){.reason = TTL_OVER};
		action = action_of(verdict.reason);
	}
	if (action != PASS && action != DROP && bpf_ktime_get_ns() >= READ_ONCE(tables.lease)) {
		verdict = (struct verdict){.reason = LEASE_OVER};
		action = DROP;
	}
	if ((action == FORWARD || action == CHAIN) && ttl)
		send_on(data, ttl, to_mac, tables.own_mac ^ (action == CHAIN ? CHAIN_MARK : 0));
	if (verdict.reason != FOREIGN) {
		__u32 row = bpf_get_smp_processor_id() & (ROWS - 1);

		tables.counters[sum(row * COLUMNS, verdict.reason & (COLUMNS - 1))]++;
	}
	return verdict;
}

/* -- the entry points --------------------------------------------------------------------------------------------- */

static __always_inline struct verdict decide_xdp(struct xdp_md *ctx, int *returned)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct verdict verdict = finish(consider(ctx, data, end), data, end);

	switch (action_of(verdict.reason)) {
	case PASS:
		*returned = XDP_PASS;
		break;
	case TAKE:
	case RESET:
		/* The stack would take a frame to the virtual MAC for another host's. */
		if (tables.flooded && data + ETHERNET <= end) {
			WORD32(data) = tables.own_mac;
			WORD16(data + 4) = tables.own_mac >> 32;
		}
		*returned = XDP_PASS;
		break;
	case FORWARD:
	case CHAIN:
		*returned = XDP_TX;
		break;
	default:
		*returned = XDP_DROP;
	}
	return verdict;
}

static __always_inline struct verdict decide_tc(struct __sk_buff *skb, int *returned)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct verdict verdict = {.reason = FOREIGN};

	/* For whatever we take or do not care about, later filters still have their say. */
	*returned = TC_ACT_UNSPEC;
	if (skb->vlan_present)
		return verdict;
	verdict = consider(skb, data, end);
	/* A driver may leave any part of the headers outside of the linear area: then have it brought there. */
	if (unlikely(verdict.reason == MALFORMED || data + ETHERNET + sizeof(struct ipv6) > end) &&
	    skb->len > end - data) {
		bpf_skb_pull_data(skb, skb->len < SIGHT ? skb->len : SIGHT);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		verdict = consider(skb, data, end);
	}
	verdict = finish(verdict, data, end);
	switch (action_of(verdict.reason)) {
	case PASS:
		break;
	case TAKE:
	case RESET:
		if (tables.flooded && skb->pkt_type != PACKET_HOST)
			bpf_skb_change_type(skb, PACKET_HOST);
		break;
	case FORWARD:
	case CHAIN:
		*returned = bpf_redirect(skb->ifindex, 0);
		break;
	default:
		*returned = TC_ACT_SHOT;
	}
	return verdict;
}

SEC("xdp") int hcsidecar_xdp(struct xdp_md *ctx)
{
	int returned;

	decide_xdp(ctx, &returned);
	return returned;
}

SEC("tc") int hcsidecar_tc(struct __sk_buff *skb)
{
	int returned;

	decide_tc(skb, &returned);
	return returned;
}

/* For the tests only: the same, but they say what was decided. The daemon does not load them. */
#define SAID(verdict) (action_of((verdict).reason) | (verdict).reason << 8 | (verdict).to << 16)

SEC("xdp") int said_by_xdp(struct xdp_md *ctx)
{
	int returned;
	struct verdict verdict = decide_xdp(ctx, &returned);

	return SAID(verdict);
}

SEC("tc") int said_by_tc(struct __sk_buff *skb)
{
	int returned;
	struct verdict verdict = decide_tc(skb, &returned);

	return SAID(verdict);
}

char _license[] SEC("license") = "Dual MIT/GPL";
