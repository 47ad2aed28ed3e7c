/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is remembered of a socket: in the socket itself where the kernel has storage
 * there for our programs (SOCKET_STORAGE: typed ones, from 5.11), else its role alone.
 *
 * remembered_role() gives a role as enum role + 1; 0: not known.  The port is a
 * datagram socket's own, 0 for streams.
 */
#ifndef BWTOP_SOCKET_STATE_H
#define BWTOP_SOCKET_STATE_H

#include "bcc.h"

#ifdef SOCKET_STORAGE
/*
 * looks, heard, wanted: of what it sends first (listen.h).
 *
 * flow: what bwtop_charge() said of the flow that bytes were moved of last.
 *
 * The rest is for the backend that counts by message, for TCP its reading position.
 * joined: it was first seen in the middle of a connection, so what came before
 * its first event in that call is still to be added, once the call's result is
 * known.  by_result: urgent data have come, so the position says no more how much
 * was read.  mixed: datagrams may wait in it that came before it was connected.
 * addressed: some messages have had an address of their own since it was connected.
 */
struct socket {
	u64 flow;
	u8 role;		/* enum role + 1; 0: not known yet */
	u8 looks;		/* sends of a hello, or Initial packets, in a row; or: */
#define MOST_LOOKS	4
#define LOOKS_DNS	254	/* it is a stream from a name server */
#define LOOKED_ENOUGH	255
	u16 heard;		/* bytes of that hello, so far and in all */
	u16 wanted;
#ifdef BY_MESSAGE
	u8 known;		/* seq is */
	u8 joined;
	u8 by_result;
	u8 mixed;
	u8 addressed;
	u32 seq;
	u32 counted;		/* since a receive call returned */
	u32 urgent;		/* the socket's urg_seq when it was first seen */
#endif
};

BPF_SK_STORAGE(bwtop_sockets, struct socket);

static __always_inline struct socket *known_socket(u64 sk)
{
	return bwtop_sockets.sk_storage_get((void *)sk, 0, 0);
}

static __always_inline struct socket *socket_of(u64 sk)
{
	return bwtop_sockets.sk_storage_get((void *)sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline u8 remembered_role(u64 sk, const struct socket *socket, u16 port)
{
	return socket ? socket->role : 0;
}

static __always_inline void remember_role(u64 sk, struct socket *socket, u16 port, u8 role)
{
	if (socket)
		socket->role = role;
}

static __always_inline void forget_role(u64 sk, u16 port)
{
	struct socket *socket = known_socket(sk);

	if (socket)
		socket->role = 0;
}
#else
/*
 * Roles that the socket itself does not tell: of accepted sockets without a
 * backlog, of connected ones with one, and of unbound datagram sockets.  Least
 * recently used ones make room: then the socket's own fields decide.
 *
 * A socket's memory is used again, and its release may have been missed.  So
 * datagram sockets are told apart by their port, too; of streams, whose port is
 * 0 here, the state tells when another one begins.
 */
struct role_key {
	u64 sk;
	u64 port;
};

BPF_TABLE("lru_hash", struct role_key, u8, bwtop_roles, MAX_PROCESSES);

struct socket {};

static __always_inline struct socket *socket_of(u64 sk)
{
	return NULL;
}

static __always_inline u8 remembered_role(u64 sk, const struct socket *socket, u16 port)
{
	struct role_key key = {.sk = sk, .port = port};
	u8 *role = bwtop_roles.lookup(&key);

	return role ? *role : 0;
}

static __always_inline void remember_role(u64 sk, struct socket *socket, u16 port, u8 role)
{
	struct role_key key = {.sk = sk, .port = port};

	bwtop_roles.update(&key, &role);
}

static __always_inline void forget_role(u64 sk, u16 port)
{
	struct role_key key = {.sk = sk, .port = port};

	bwtop_roles.delete(&key);
}
#endif

#endif
