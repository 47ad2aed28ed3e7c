/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which end of a flow serves.
 */
#ifndef BWTOP_ROLES_H
#define BWTOP_ROLES_H

#include "endpoint.h"
#include "records.h"
#include "socket_state.h"

#ifndef SOCK_USERLOCKS_MASK	/* four bits of a byte, or one of its own */
#define SOCK_USERLOCKS_MASK 1
#endif
/* sk_userlocks: bind() named the port */
#define SOCK_BINDPORT_LOCK (8 * (SOCK_USERLOCKS_MASK & -SOCK_USERLOCKS_MASK))
#define WELL_KNOWN_PORTS 1024	/* below: RFC 6335's system ports */

/*
 * An accepted socket is a copy of its listener, backlog included; one that
 * connected has none.  sock_clone in net/core/sock.c, 4.15 to 6.18.
 */
static __always_inline u8 backlog_role(u64 sk)
{
	return LOAD(u32, sk, SOCK_MAX_ACK_BACKLOG) ? ROLE_SERVER : ROLE_CLIENT;
}

/*
 * Up to 6.12 an accepted SCTP socket is a new one, and no copy of its listener.  It
 * is connected before it belongs to a struct socket, as one that connects never is.
 */
static __always_inline bool is_accepted_sctp(u64 sk, int now)
{
	return now == TCP_ESTABLISHED && socket_protocol(sk) == IPPROTO_SCTP &&
	       !LOAD(u64, sk, SOCK_SOCKET);
}

/*
 * Whether there has been a stream whose role is not what its backlog says.  Until
 * then what is remembered of streams need not be looked up.
 */
BPF_ARRAY(bwtop_odd_streams, u32, 1);

static __always_inline void note_odd_stream(void)
{
	int zero = 0;
	u32 one = 1;

	bwtop_odd_streams.update(&zero, &one);
}

static __always_inline bool has_odd_streams(void)
{
	int zero = 0;
	u32 *odd = bwtop_odd_streams.lookup(&zero);

	return odd && *odd;
}

static __always_inline u8 stream_role(u64 sk, const struct socket *socket)
{
	u8 remembered = has_odd_streams() ? remembered_role(sk, socket, 0) : 0;

	return remembered ? remembered - 1 : backlog_role(sk);
}

/* Whether bind() named this datagram socket's port. */
static __always_inline bool is_bound(u64 sk)
{
	return LOAD(u8, sk, SOCK_USERLOCKS) & SOCK_BINDPORT_LOCK;
}

/*
 * A port that bind() named is a service, unless the far end is a well-known
 * port and ours is not: resolvers bind random ports to ask port 53.
 */
static __always_inline u8 bound_role(const struct endpoint *end, const struct peer *peer)
{
	if (peer->port && peer->port < WELL_KNOWN_PORTS &&
	    end->local_port >= WELL_KNOWN_PORTS)
		return ROLE_CLIENT;
	return ROLE_SERVER;
}

/*
 * UDP knows no accept().  Without a bound port and without connect(), who spoke
 * first tells: a server is spoken to.
 */
static __always_inline u8 datagram_role(u64 sk, struct socket *socket,
					const struct endpoint *end,
					const struct peer *peer,
					enum direction direction)
{
	u8 remembered;

	if (is_bound(sk))
		return bound_role(end, peer);
	if (end->connected)
		return ROLE_CLIENT;
	remembered = remembered_role(sk, socket, end->local_port);
	if (!remembered) {
		remembered = 1 + (direction == RX ? ROLE_SERVER : ROLE_CLIENT);
		remember_role(sk, socket, end->local_port, remembered);
	}
	return remembered - 1;
}

static __always_inline u8 role_of(u64 sk, struct socket *socket, const struct endpoint *end,
				  const struct peer *peer, enum direction direction)
{
	if (is_stream(end))
		return stream_role(sk, socket);
	if (is_udp(end))
		return datagram_role(sk, socket, end, peer, direction);
	return ROLE_CLIENT;
}

#endif
