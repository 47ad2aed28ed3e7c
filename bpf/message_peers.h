/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The peers of messages, for the tracepoint backend: its tracepoints do not have
 * them, so cgroup programs see the addresses of datagrams in the same call.
 */
#ifndef BWTOP_MESSAGE_PEERS_H
#define BWTOP_MESSAGE_PEERS_H

#define TYPED_POINTERS
#define BY_MESSAGE
#ifndef SOCKET_STORAGE
#define SOCKET_STORAGE	/* every kernel with these tracepoints has it */
#endif

#include "account.h"
#include "endpoint.h"
#include "socket_state.h"
#include "thread_state.h"

#define ALLOW		1	/* a cgroup program's verdict */

/*
 * Whether what a connected socket reads may come from others than its peer: from
 * connect() on, until nothing waits in it any more.
 */
static __always_inline bool is_mixed(u64 sk, struct socket *socket)
{
	if (!socket || !socket->mixed)
		return false;
	if (!LOAD(u32, sk, SOCK_RMEM_ALLOC))
		socket->mixed = 0;
	return true;
}

/*
 * Whether what a connected socket sends without an address may go to another peer
 * than its own: after a corked datagram to one, IPv4 uses the cork's flow again.
 */
static __always_inline bool may_go_astray(u64 sk, const struct endpoint *end)
{
	struct peer cork;

	if (end->family != AF_INET)
		return false;
	addr_from_v4(cork.addr, LOAD_AS(u32, inet_sock, sk, INET_CORK_DADDR));
	return cork.addr[1] != end->remote.addr[1] ||
	       LOAD_AS(u16, inet_sock, sk, INET_CORK_DPORT) != LOAD(u16, sk, SOCK_DPORT);
}

/*
 * The peer of this very message: the address in it if there was one, else the
 * one the socket is connected to, else unknown (zeros).
 *
 * A corked datagram's next part goes where the first part went.  Without an
 * address, an unconnected socket's send can be nothing else; on a connected one
 * the cork may have been pulled in between, and then it cannot be known.
 */
static __always_inline void find_peer(struct peer *peer, u64 sk, struct socket *socket,
				      const struct endpoint *end,
				      enum direction direction)
{
	struct thread *thread;
	struct seen_peer *seen;

	*peer = end->remote;
	if (is_stream(end))
		return;
	if (!end->connected || (is_mixed(sk, socket) && direction == RX))
		*peer = (struct peer){};
	if (!is_udp(end)) {
		peer->port = 0;		/* raw and ICMP: not a service's port */
		return;
	}
	if (direction == TX && end->connected && may_go_astray(sk, end))
		*peer = (struct peer){};
	if (end->connected && socket && !socket->addressed)
		return;
	thread = thread_of(false);
	if (!thread)
		return;
	seen = direction == RX ? &thread->rx : &thread->tx;
	if (seen->sk != sk)
		return;
	*peer = seen->kept && end->connected ? (struct peer){} : seen->peer;
	seen->kept = direction == TX && LOAD_AS(u32, udp_sock, sk, UDP_PENDING);
	if (!seen->kept)
		seen->sk = 0;
}

static __always_inline void forget_failed_peer(u64 sk)
{
	struct thread *thread = thread_of(false);

	if (thread && thread->tx.sk == sk)
		thread->tx.sk = 0;
}

static __always_inline void mix(u64 sk)
{
	struct socket *socket = socket_of(sk);

	if (!socket)
		return;
	socket->mixed = 1;
	socket->addressed = 1;	/* a message with an address may be on its way */
}

/* Where a datagram to the unspecified address goes: to this host itself. */
static __always_inline void settle_unspecified(struct peer *peer, bool v6)
{
	if (peer->addr[0] || peer->addr[1])
		return;
	if (v6)
		peer->addr[1] = (u64)bpf_htonl(1) << 32;
	else
		addr_from_v4(peer->addr, bpf_htonl(0x7f000001));
}

static __always_inline void saw_v4(struct bpf_sock_addr *ctx, struct seen_peer *seen)
{
	seen->sk = (u64)ctx->sk;
	seen->kept = false;
	seen->peer.port = bpf_ntohs(ctx->user_port);
	addr_from_v4(seen->peer.addr, ctx->user_ip4);
	settle_unspecified(&seen->peer, false);
}

static __always_inline void saw_v6(struct bpf_sock_addr *ctx, struct seen_peer *seen)
{
	seen->sk = (u64)ctx->sk;
	seen->kept = false;
	seen->peer.port = bpf_ntohs(ctx->user_port);
	seen->peer.addr[0] = (u64)ctx->user_ip6[1] << 32 | ctx->user_ip6[0];
	seen->peer.addr[1] = (u64)ctx->user_ip6[3] << 32 | ctx->user_ip6[2];
	settle_unspecified(&seen->peer, true);
}

/*
 * connect4, connect6: a datagram socket that has a port is about to be connected.
 * Datagrams of others can come until it is.
 */
#define CONNECT_PROGRAM(name)						\
int name(struct bpf_sock_addr *ctx)					\
{									\
	if (ctx->type == SOCK_DGRAM && ctx->sk->src_port)		\
		mix((u64)ctx->sk);					\
	return ALLOW;							\
}

CONNECT_PROGRAM(bwtop_connect4)
CONNECT_PROGRAM(bwtop_connect6)

/* A connected socket's message has an address of its own. */
static __always_inline void note_address(u64 sk)
{
	struct socket *socket = socket_of(sk);

	if (socket)
		socket->addressed = 1;
}

#define SOCK_ADDR_PROGRAM(name, saw, direction)				\
int name(struct bpf_sock_addr *ctx)					\
{									\
	struct thread *thread = thread_of(true);			\
									\
	if (thread)							\
		saw(ctx, &thread->direction);				\
	if (ctx->sk->state == TCP_ESTABLISHED)				\
		note_address((u64)ctx->sk);				\
	return ALLOW;							\
}

SOCK_ADDR_PROGRAM(bwtop_sendmsg4, saw_v4, tx)
SOCK_ADDR_PROGRAM(bwtop_sendmsg6, saw_v6, tx)
SOCK_ADDR_PROGRAM(bwtop_recvmsg4, saw_v4, rx)
SOCK_ADDR_PROGRAM(bwtop_recvmsg6, saw_v6, rx)

#endif
