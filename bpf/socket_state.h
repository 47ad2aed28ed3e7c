/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is remembered of a socket.
 *
 * remembered_role() gives the place of its role, as enum role + 1; 0: not known
 * yet.  NULL if there is no such place; with create only if there is no room.  The
 * port is a datagram socket's own, 0 for streams.
 */
#ifndef BWTOP_SOCKET_STATE_H
#define BWTOP_SOCKET_STATE_H

#include "bcc.h"

#ifdef BY_MESSAGE
/*
 * Kept in the socket itself: its role, and for TCP its reading position.
 * joined: it was first seen in the middle of a connection, so what came before
 * its first event in that call is still to be added, once the call's result is
 * known.  by_result: urgent data have come, so the position says no more how much
 * was read.  mixed: datagrams may wait in it that came before it was connected.
 */
struct socket {
	u32 seq;
	u32 counted;		/* since a receive call returned */
	u32 urgent;		/* the socket's urg_seq when it was first seen */
	u8 role;		/* enum role + 1; 0: not known yet */
	u8 known;		/* seq is */
	u8 joined;
	u8 by_result;
	u8 mixed;
};

BPF_SK_STORAGE(bwtop_sockets, struct socket);

static __always_inline struct socket *socket_of(u64 sk, u64 flags)
{
	return bwtop_sockets.sk_storage_get((void *)sk, 0, flags);
}

static __always_inline u8 *remembered_role(u64 sk, u16 port, bool create)
{
	struct socket *socket = socket_of(sk, create ? BPF_SK_STORAGE_GET_F_CREATE : 0);

	return socket ? &socket->role : NULL;
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

static __always_inline u8 *remembered_role(u64 sk, u16 port, bool create)
{
	struct role_key key = {.sk = sk, .port = port};
	u8 *role = bwtop_roles.lookup(&key);
	u8 unknown = 0;

	if (role || !create)
		return role;
	bwtop_roles.update(&key, &unknown);
	return bwtop_roles.lookup(&key);
}
#endif

#endif
