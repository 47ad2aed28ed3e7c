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
 * Where the kernel interrupts no programs (ONE_LAYER) none is missed, and one
 * program counts an ordinary message: the outer one, or for received datagrams
 * skb_consume_udp.  The inner ones are not attached then, nor are marks set, but
 * for what seldom passes: splice(), and UDP sockets that are in a sockmap.
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
	else
		return 0;	/* of one that is closed, too: what has come may still be read */
	if (backlog_role(sk) + 1 == role) {
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

/*
 * Where there is one layer, received datagrams are marked only for sockets that
 * somebody has tied something to, as a sockmap does: those may get other data, too,
 * which the outer hook counts.
 */
static __always_inline bool mark_datagram(u64 sk)
{
#ifdef ONE_LAYER
	if (!LOAD(u64, sk, SOCK_USER_DATA))
		return true;
#endif
	return mark(thread_of(true), sk, RX);
}

static __always_inline bool was_received_inside(u64 sk)
{
#ifdef ONE_LAYER
	u16 protocol = socket_protocol(sk);

	if (protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE)
		return false;
	if (!LOAD(u64, sk, SOCK_USER_DATA))
		return true;
#endif
	return was_counted_inside(sk, RX);
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
static __always_inline void address_peer(struct peer *peer, u64 address,
					 const struct endpoint *end)
{
	struct {
		u16 family;
		u16 port;
		u32 v4;
		u64 v6[2];
	} name = {};

	*peer = end->remote;
	if (!is_stream(end) && !end->connected)
		*peer = (struct peer){};
	if (address) {
		bpf_probe_read_kernel(&name, sizeof(name), (void *)address);
		peer->port = bpf_ntohs(name.port);
		/* IPv4 takes AF_UNSPEC for its own family. */
		if (name.family == AF_INET || end->family == AF_INET) {
			addr_from_v4(peer->addr, name.v4);
		} else if (name.family == AF_INET6) {
			peer->addr[0] = name.v6[0];
			peer->addr[1] = name.v6[1];
		}
	}
	if (is_raw_socket(end))
		peer->port = 0;		/* not a service's */
}

static __always_inline void message_peer(struct peer *peer, u64 msg,
					 const struct endpoint *end)
{
	/* Streams neither fill the name's buffer nor go where a name says. */
	if (flow_protocol(end) == IPPROTO_TCP)
		*peer = end->remote;
	else
		address_peer(peer, LOAD(u64, msg, MSGHDR_NAME), end);
}

enum {
	SKB_FIRST = LOWER(LOWER(SKB_LEN, SKB_HEAD), LOWER(SKB_NETWORK_HEADER, SKB_TRANSPORT_HEADER)),
	SKB_END = HIGHER(HIGHER(SKB_LEN, SKB_HEAD), HIGHER(SKB_NETWORK_HEADER, SKB_TRANSPORT_HEADER)) + 8,
};

/*
 * Who sent a packet, by its own headers, and its length; bytes of the header of IP.  The buffer that these
 * are in has room behind them, so what may follow the headers can be read.
 */
static __always_inline u32 read_sender(struct peer *peer, u64 skb, u32 *bytes)
{
	SPAN(fields, skb, SKB_FIRST, SKB_END);
	u64 head = LOAD_SPAN(u64, fields, SKB_FIRST, SKB_HEAD);
	u16 network = LOAD_SPAN(u16, fields, SKB_FIRST, SKB_NETWORK_HEADER);
	u16 length = LOAD_SPAN(u16, fields, SKB_FIRST, SKB_TRANSPORT_HEADER) - network;
	struct {
		u32 word[11];	/* of IPv6 and a port */
	} header = {};

	*bytes = LOAD_SPAN(u32, fields, SKB_FIRST, SKB_LEN);
	bpf_probe_read_kernel(&header, sizeof(header), (void *)(head + network));
	if ((*(u8 *)&header >> 4) == 4) {
		addr_from_v4(peer->addr, header.word[3]);	/* iphdr.saddr */
		peer->port = header.word[5];			/* udphdr.source */
		if (length == 20)
			goto swap;
	} else {
		peer->addr[0] = header.word[2] | (u64)header.word[3] << 32;	/* ipv6hdr.saddr */
		peer->addr[1] = header.word[4] | (u64)header.word[5] << 32;
		peer->port = header.word[10];
		if (length == 40)
			goto swap;
	}
	peer->port = READ_KERNEL(u16, head + network, length);	/* there are options */
swap:
	peer->port = bpf_ntohs(peer->port);
	return (*(u8 *)&header >> 4) == 4 ? (*(u8 *)&header & 0xf) * 4 : 40;
}

#endif
