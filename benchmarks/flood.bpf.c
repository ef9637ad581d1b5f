// Test traffic and limits for the benchmarks of the packet filter; compiled by benchmarks/flood.py when it is needed.
//
// `flood` is run by the kernel's test-run call with live frames: it makes each frame anew (what comes back from
// the pool has been through the receiver) and sends it out of one interface. The others are what a filter is compared
// with.
#include <linux/bpf.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// As `_PLAN` in benchmarks/flood.py; addresses and ports in network order.
struct plan {
	__u32 interface;
	__u32 first;  // of the addresses that packets come from
	__u32 spread; // how many there are, less one; in host order
	__u32 state;  // of the random numbers
	__u32 ip_sum; // of the words that never change
	__u32 tcp_sum; // likewise, pseudo header included; 0: not TCP, and no checksum is wanted
	__u8 ethernet[12]; // destination and source
};

struct plan plan;

struct frame {
	__u8 ethernet[12];
	__u16 type;
	struct iphdr ip;
	__u16 source_port;
	__u16 port;
	__u8 before[12];
	__u16 tcp_check;
} __attribute__((packed));

static __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	// Numerical Recipes' generator; its upper bits are the better ones.
	__u32 random = plan.state = plan.state * 1664525 + 1013904223;
	__u32 source = plan.first | bpf_htonl(random >> 8 & plan.spread);
	__u16 source_port = bpf_htons(1024 + (random >> 17));
	__u32 changing = (source & 0xffff) + (source >> 16);

	// A receiver may have changed these two, and frames are used again.
	__builtin_memcpy(frame->ethernet, plan.ethernet, sizeof(frame->ethernet));
	frame->ip.ttl = 64;
	frame->ip.saddr = source;
	frame->ip.check = ~folded(plan.ip_sum + changing);
	frame->source_port = source_port;
	if (plan.tcp_sum)
		frame->tcp_check = ~folded(plan.tcp_sum + changing + source_port);
	return bpf_redirect(plan.interface, 0);
}

SEC("xdp")
int drop_xdp(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("tc")
int drop_tc(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";
