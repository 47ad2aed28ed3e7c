/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the backends that hook functions count, the same for fexit and kprobe:
 * a handler for each hooked function, given its arguments and its result, in
 * udp.h and sockets.h; here is what those share.  All of them run in the context
 * of the process that made the call.
 *
 * Bytes are counted at the innermost place that knows them, and marked there
 * for the thread; the hook around it counts only what is not marked.  So what
 * passes the inner hook by is counted outside (kernel TLS, MPTCP, SCTP), and so
 * is what the inner hook missed because its program was interrupted by itself.
 *
 *   innermost			inner				outer
 *				tcp_sendmsg, tcp_recvmsg	inet_sendmsg,
 *   udp_send_skb		udp_sendmsg, udpv6_sendmsg	inet_recvmsg, …
 *   skb_consume_udp		udp_recvmsg, udpv6_recvmsg
 *				tcp_splice_read			sock_splice_read
 *
 * Counted by results, never by the sizes asked for; not at tcp_cleanup_rbuf(),
 * which also runs for peeks and with running sums.
 */
#ifndef BWTOP_FUNCTIONS_H
#define BWTOP_FUNCTIONS_H

#include "account.h"
#include "arguments.h"
#include "roles.h"
#include "thread_state.h"

#define IPPROTO_ICMP	1
#define IPPROTO_ICMPV6	58
#define TCP_LISTEN	10
#define UDP_HEADER	8

/* inet_release(sock), at its entry: a socket is closed, and its memory used again. */
static __always_inline void on_inet_release(const struct inet_release *args)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);

	if (!sk)
		return;
	if (has_odd_streams())
		forget_role(sk, 0);
	forget_role(sk, LOAD(u16, sk, SOCK_NUM));
}

/*
 * inet_sock_set_state(sk, old, new): which side opened a connection, where the
 * backlog would say otherwise.  Accepted sockets begin as copies of listening
 * ones, MPTCP's too.
 */
int bwtop_state(u64 *ctx)
{
	u64 sk = ctx[0];
	int before = ctx[1], now = ctx[2];
	u8 role;

	if ((before == TCP_LISTEN && now != TCP_CLOSE) || is_accepted_sctp(sk, now))
		role = ROLE_SERVER + 1;
	else if (now == TCP_SYN_SENT)
		role = ROLE_CLIENT + 1;
	else if (now == TCP_CLOSE)
		role = 0;
	else
		return 0;
	if (!role || backlog_role(sk) + 1 == role) {
		if (has_odd_streams())
			forget_role(sk, 0);
	} else {
		remember_role(sk, socket_of(sk), 0, role);
		note_odd_stream();
	}
	return 0;
}

/*
 * The mark is set before anything is counted: where it cannot be, the outer
 * hook counts.
 */
static __always_inline bool mark(struct thread *thread, u64 sk, enum direction direction)
{
	if (!thread)
		return false;
	if (direction == RX)
		thread->received = sk;
	else
		thread->sent = sk;
	return true;
}

/* Takes the mark off; true if it was for this socket. */
static __always_inline bool was_counted_inside(u64 sk, enum direction direction)
{
	struct thread *thread = thread_of(false);
	u64 marked;

	if (!thread)
		return false;
	if (direction == RX) {
		marked = thread->received;
		thread->received = 0;
	} else {
		marked = thread->sent;
		thread->sent = 0;
	}
	return SAME_CALL(marked, sk);
}

static __always_inline bool is_read_without_moving(u32 flags)
{
	return flags & (MSG_PEEK | MSG_ERRQUEUE);
}

static __always_inline bool is_icmp(const struct endpoint *end)
{
	return end->protocol == IPPROTO_ICMP || end->protocol == IPPROTO_ICMPV6;
}

/* Those that are counted where their datagrams pass, not by a call's result. */
static __always_inline bool is_udp_socket(const struct endpoint *end)
{
	return end->type != SOCK_RAW && is_udp(end);
}

static __always_inline bool is_raw_socket(const struct endpoint *end)
{
	return end->type == SOCK_RAW || (end->type == SOCK_DGRAM && is_icmp(end));
}

/*
 * The peer of a message whose address is the kernel's own copy of what the
 * caller passed, or what the caller is going to get (struct msghdr); without
 * one, the peer that the socket is connected to.
 */
static __always_inline void message_peer(struct peer *peer, u64 msg,
					 const struct endpoint *end)
{
	struct {
		u16 family;
		u16 port;
		u32 v4;
		u64 v6[2];
	} name = {};
	u64 address = LOAD(u64, msg, MSGHDR_NAME);

	*peer = end->remote;
	if (!is_stream(end) && !end->connected)
		*peer = (struct peer){};
	if (address) {
		bpf_probe_read_kernel(&name, sizeof(name), (void *)address);
		peer->port = bpf_ntohs(name.port);
		if (name.family == AF_INET) {
			addr_from_v4(peer->addr, name.v4);
		} else if (name.family == AF_INET6) {
			peer->addr[0] = name.v6[0];
			peer->addr[1] = name.v6[1];
		}
	}
	if (is_raw_socket(end))
		peer->port = 0;		/* not a service's */
}

/* Who sent a packet, by its own IP header; bytes of that header. */
static __always_inline u32 sender_address(struct peer *peer, u64 skb)
{
	u64 header = LOAD(u64, skb, SKB_HEAD) + LOAD(u16, skb, SKB_NETWORK_HEADER);
	u8 first = READ_KERNEL(u8, header, 0);

	*peer = (struct peer){};
	if (first >> 4 == 4) {
		addr_from_v4(peer->addr, READ_KERNEL(u32, header, 12));	/* iphdr.saddr */
		return (first & 0xf) * 4;
	}
	bpf_probe_read_kernel(peer->addr, sizeof(peer->addr), (void *)(header + 8));
	return 40;			/* struct ipv6hdr */
}

#endif
