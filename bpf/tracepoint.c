/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The tracepoint backend, for kernels from 6.3: BTF-typed raw tracepoints and,
 * for the peer of unconnected UDP, cgroup sock_addr programs.
 *
 * sock_send_length and sock_recv_length are raised once per message right
 * after the protocol's sendmsg or recvmsg, in the caller's own context, with
 * its result (net/socket.c, 6e6eda44b939): every system call, io_uring and
 * sendfile passes there.  Received TCP is the exception: splice() and
 * TCP_ZEROCOPY_RECEIVE pass recvmsg by, so it is counted by the advance of
 * copied_seq (bwtop_adjust) and sock_recv_length leaves it alone.
 */
/* First: it defines what the other headers depend on. */
#include "message_peers.h"
#include "account.h"
#include "roles.h"
#include "socket_state.h"
#include "thread_state.h"

#define SOCK_DONE	1	/* enum sock_flags: a FIN has come */

/* Kernel TLS, MPTCP subflows and the like read copied_seq for themselves. */
static __always_inline bool is_plain_tcp(u64 sk)
{
	return socket_protocol(sk) == IPPROTO_TCP && !LOAD_AS(u64, tcp_sock, sk, TCP_ULP_OPS);
}

/* sock_send_length(sk, ret, flags) */
int bwtop_send(u64 *ctx)
{
	u64 sk = ctx[0];
	int ret = ctx[1];
	u16 family = LOAD(u16, sk, SOCK_FAMILY);
	struct socket *socket;
	struct endpoint end;
	struct peer peer;

	if (!is_network(family) && family != AF_PACKET)
		return 0;
	if (ret < 0) {
		forget_failed_peer(sk);
		return 0;
	}
	socket = socket_of(sk);
	read_endpoint(&end, sk, family);
	find_peer(&peer, sk, socket, &end, TX);
	if (!ret || is_repaired(sk, &end))
		return 0;
	charge_socket(sk, socket, &end, &peer, TX, ret);
	return 0;
}

/* A connection was joined by something other than a receive call, whose bytes are lost. */
static __always_inline void count_unseen_start(void)
{
	if (is_counting())
		count_missed();
}

/*
 * How much of a receive call's result bwtop_adjust has not counted: all of it
 * but for plain TCP, and there the first event of a connection it joined, all
 * that comes after urgent data, and those themselves: they are read beside the
 * stream, and leave a hole in it.
 *
 * A call in which a connection was joined returns more than was counted since.
 * If it does not, the connection was joined by splice(), which returns unseen.
 * Where more was counted than a call returns, splice() has moved some before.
 */
static __always_inline u32 not_yet_counted(struct socket *socket, u32 bytes)
{
	u32 counted = socket->counted;
	bool joined = socket->joined;

	socket->counted = 0;
	socket->joined = 0;
	if (!joined && !socket->by_result)
		return 0;
	if (joined && counted >= bytes) {
		count_unseen_start();
		return 0;
	}
	return counted > bytes ? bytes : bytes - counted;
}

/* An answer of a name server by TCP: counted in parts, but heard when the call has all of it. */
static __always_inline void hear_stream(u64 sk, struct socket *socket, u16 family, u32 bytes)
{
#ifdef NAMES
	struct endpoint end;
	struct charge charge;

	if (socket->looks != LOOKS_DNS)
		return;
	read_endpoint(&end, sk, family);
	read_charge(&charge, sk, socket, &end, &end.remote, RX, bytes);
	listen(socket, &charge);
#endif
}

/* sock_recv_length(sk, ret, flags) */
int bwtop_recv(u64 *ctx)
{
	u64 sk = ctx[0];
	int ret = ctx[1];
	u32 flags = ctx[2];
	u32 bytes = ret;
	u16 family = LOAD(u16, sk, SOCK_FAMILY);
	struct socket *socket;
	struct endpoint end;
	struct peer peer;
	bool is_peek;

	if (ret < 0 || !is_network(family))
		return 0;
	socket = socket_of(sk);
	is_peek = flags & (MSG_PEEK | MSG_ERRQUEUE);
	if (socket && socket->known && !(flags & MSG_OOB) && is_plain_tcp(sk)) {
		if (is_peek)
			return 0;
		hear_stream(sk, socket, family, bytes);
		bytes = not_yet_counted(socket, bytes);
		if (!bytes)
			return 0;
	}
	read_endpoint(&end, sk, family);
	find_peer(&peer, sk, socket, &end, RX);
	if (bytes && !is_peek)
		charge_socket(sk, socket, &end, &peer, RX, bytes);
	return 0;
}

/* The next byte to read, the FIN left out: it takes a number but is no data. */
static __always_inline u32 read_position(u64 sk, u64 tcp)
{
	u32 copied = LOAD(u32, tcp, TCP_COPIED_SEQ);

	if (LOAD(u64, sk, SOCK_FLAGS) & (1 << SOCK_DONE) &&
	    copied == LOAD(u32, tcp, TCP_RCV_NXT))
		return copied - 1;
	return copied;
}

static __always_inline void start_reading(struct socket *socket, u64 sk, u64 tcp)
{
	socket->seq = read_position(sk, tcp);
	socket->urgent = LOAD(u32, tcp, TCP_URG_SEQ);
	socket->by_result = LOAD(u16, tcp, TCP_URG_DATA) != 0;
	socket->counted = 0;
	socket->joined = 0;
	socket->known = 1;
}

/*
 * tcp_rcv_space_adjust(sk): under the socket's lock, after copied_seq moved, in
 * recvmsg (once per segment copied), splice and zero-copy receive.  A peek does
 * not move copied_seq, and a missed event is made good by the next one.
 */
int bwtop_adjust(u64 *ctx)
{
	u64 sk = ctx[0];
	u64 tcp = (u64)bpf_skc_to_tcp_sock((void *)sk);
	struct endpoint end;
	struct charge charge;
	struct socket *socket;
	u32 seq, bytes;

	if (!tcp || !is_plain_tcp(sk))
		return 0;
	socket = socket_of(sk);
	if (!socket)
		return 0;		/* then bwtop_recv counts */

	if (!socket->known) {
		start_reading(socket, sk, tcp);
		socket->joined = 1;
		return 0;
	}
	seq = read_position(sk, tcp);
	bytes = seq - socket->seq;
	socket->seq = seq;
	if (LOAD(u32, tcp, TCP_URG_SEQ) != socket->urgent)
		socket->by_result = 1;
	/* In softirq the reader is the kernel itself, not who was running. */
	if (!bytes || (s32)bytes < 0 || socket->by_result || !LOAD(u32, sk, SOCK_LOCK_OWNED))
		return 0;
	socket->counted += bytes;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	read_charge(&charge, sk, socket, &end, &end.remote, RX, bytes);
	charge_flow(socket, &charge, false);	/* heard when the call has all of it */
	return 0;
}

/*
 * inet_sock_set_state(sk, old, new): which side opened a connection, and where
 * its reading starts.  An MPTCP socket passes here too, with no sequence of its
 * own and no backlog that would tell its role later, and so does an SCTP socket.
 */
int bwtop_state(u64 *ctx)
{
	u64 sk = ctx[0];
	int now = ctx[2];
	u64 tcp = (u64)bpf_skc_to_tcp_sock((void *)sk);
	struct socket *socket;

	if (now == TCP_CLOSE) {
		socket = known_socket(sk);
		if (socket && socket->joined)
			count_unseen_start();
	}
	if (now != TCP_SYN_SENT && now != TCP_ESTABLISHED)
		return 0;
	if (!tcp && socket_protocol(sk) != IPPROTO_MPTCP && !is_accepted_sctp(sk, now))
		return 0;
	socket = socket_of(sk);
	if (!socket)
		return 0;
	if (now == TCP_SYN_SENT) {
		socket->role = ROLE_CLIENT + 1;
		socket->known = 0;	/* it may have had another connection */
		socket->looks = 0;
		socket->heard = 0;
	} else if (!socket->role) {
		/* Two ends that open at once meet in SYN_RECV too: both are clients. */
		socket->role = ROLE_SERVER + 1;
	}
	if (!tcp || socket->role != backlog_role(sk) + 1)
		note_odd_stream();
	if (now == TCP_SYN_SENT)
		return 0;
	/* What came in the SYN (TCP Fast Open) may have been read by now. */
	if (tcp && !socket->known)
		start_reading(socket, sk, tcp);
	return 0;
}

/* Where reading stands on a connection that is older than we are. */
static __always_inline void survey(u64 sk)
{
	u64 tcp = (u64)bpf_skc_to_tcp_sock((void *)sk);
	struct socket *socket;

	if (!tcp)
		return;
	socket = socket_of(tcp);
	if (socket && (!socket->known || socket->joined))
		start_reading(socket, tcp, tcp);
}

/*
 * iter/task_file(meta, task, fd, file) and iter/tcp(meta, sk, uid), run once when
 * all else is attached and nothing is counted yet.  The one sees the sockets that
 * processes hold, the other those of a network namespace, also if they wait to be
 * accepted or are being passed.  One that both miss is joined at its first event.
 */
int bwtop_survey_files(u64 *ctx)
{
	u64 file = ctx[3];
	u64 sock, sk;

	if (!file)
		return 0;
	sock = (u64)bpf_sock_from_file((void *)file);
	if (!sock)
		return 0;
	sk = LOAD(u64, sock, SOCKET_SK);
	if (!sk || !is_network(LOAD(u16, sk, SOCK_FAMILY)))
		return 0;
	if (LOAD(u16, sk, SOCK_TYPE) == SOCK_DGRAM && LOAD(u32, sk, SOCK_RMEM_ALLOC))
		mix(sk);
	survey(sk);
	return 0;
}

int bwtop_survey_tcp(u64 *ctx)
{
	if (ctx[1])
		survey(ctx[1]);
	return 0;
}
