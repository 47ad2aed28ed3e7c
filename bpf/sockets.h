/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * TCP, and the socket layer around all protocols.
 */
#ifndef BWTOP_SOCKETS_H
#define BWTOP_SOCKETS_H

#include "functions.h"
#include "udp.h"

/*
 * tcp_sendmsg(sk, msg, size): every byte sent through a TCP socket that has no
 * upper layer; sendfile() and splice() too from 6.5 on.
 */
static __always_inline void on_tcp_sendmsg(const struct sk_sendmsg *args, u64 result)
{
	u64 sk = args->sk;
	int ret = result;
	struct endpoint end;

	if (ret <= 0)
		return;
	read_endpoint(&end, sk, 0);
	if (mark(thread_of(true), sk, TX) && !is_repaired(sk, &end))
		charge(sk, &end, &end.remote, TX, ret);
}

/* tcp_recvmsg(sk, msg, len, …flags…): all but splice() and TCP_ZEROCOPY_RECEIVE. */
static __always_inline void on_tcp_recvmsg(const struct tcp_recvmsg *args, u64 result)
{
	u64 sk = args->sk;
	int ret = result;
	struct endpoint end;

	if (ret <= 0 || is_read_without_moving(args->flags))
		return;
	read_endpoint(&end, sk, 0);
	if (mark(thread_of(true), sk, RX))
		charge(sk, &end, &end.remote, RX, ret);
}

/*
 * inet_sendmsg(sock, msg, size), inet6_sendmsg(): around tcp_sendmsg() and
 * udp_sendmsg(), and the only place for kernel TLS, MPTCP, SCTP, ICMP and raw IP.
 */
static __always_inline void on_inet_sendmsg(const struct sock_sendmsg *args, u64 result)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);
	int ret = result;
	struct endpoint end;
	struct peer peer;

	if (!sk || was_sent_inside(sk, args->msg, ret) || ret <= 0)
		return;
	read_endpoint(&end, sk, 0);
	if (!is_network(end.family) || is_repaired(sk, &end))
		return;
	if (is_udp_socket(&end)) {
		count_udp_sent(sk, &end, args->msg, ret);
		return;
	}
	message_peer(&peer, args->msg, &end);
	charge(sk, &end, &peer, TX, ret);
}

/*
 * inet_recvmsg(sock, msg, size, flags), inet6_recvmsg(), sock_common_recvmsg():
 * around tcp_recvmsg() and udp_recvmsg(), and the only place for kernel TLS,
 * MPTCP and SCTP.  ICMP and raw IP are counted at skb_recv_datagram().
 */
static __always_inline void on_inet_recvmsg(const struct sock_recvmsg *args, u64 result)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);
	int ret = result;
	struct endpoint end;
	struct peer peer;

	if (!sk || was_received_inside(sk) || ret <= 0 || is_read_without_moving(args->flags))
		return;
	read_endpoint(&end, sk, 0);
	if (!is_network(end.family) || is_raw_socket(&end))
		return;
	if (end.protocol == IPPROTO_SCTP && LOAD(u32, args->msg, MSGHDR_FLAGS) & MSG_NOTIFICATION)
		return;
	message_peer(&peer, args->msg, &end);
	charge(sk, &end, &peer, RX, ret);
}

#ifdef PROTO_SENDPAGE
/*
 * inet_sendpage(sock, page, offset, size, flags), up to 6.4: sendfile() and
 * splice() into a socket, which do not pass inet_sendmsg() there, unless the
 * protocol has no sendpage: then it falls back to inet_sendmsg(), where it is
 * counted (MPTCP, raw IP).  UDP's makes a datagram like any other, which may have
 * been counted at the end of its cork.
 */
static __always_inline void on_inet_sendpage(const struct inet_sendpage *args, u64 result)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);
	int ret = result;
	struct endpoint end;

	if (!sk || ret <= 0)
		return;
	read_endpoint(&end, sk, 0);
	if (is_udp_socket(&end))
		count_udp_page(sk, &end, args->flags, ret);
	else if (is_network(end.family) && LOAD(u64, LOAD(u64, sk, SOCK_PROT), PROTO_SENDPAGE))
		charge(sk, &end, &end.remote, TX, ret);
}
#endif

/* tcp_splice_read(sock, ppos, pipe, len, flags) */
static __always_inline void on_tcp_splice_read(const struct tcp_splice_read *args, u64 result)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);
	s64 ret = result;
	struct endpoint end;

	if (!sk || ret <= 0)
		return;
	read_endpoint(&end, sk, 0);
	if (!SPLICE_IS_OUTSIDE || mark(thread_of(true), sk, RX))
		charge(sk, &end, &end.remote, RX, ret);
}

/*
 * sock_splice_read(file, ppos, pipe, len, flags): splice() out of a socket; around
 * tcp_splice_read(), and the only place for kernel TLS.  Without a splice_read of
 * its own the socket is read by inet_recvmsg(), and counted there.
 */
static __always_inline void on_sock_splice_read(const struct sock_splice_read *args, u64 result)
{
	u64 sock = SOCKET_OF_FILE(args->file);
	s64 ret = result;
	struct endpoint end;
	u64 sk;

	if (!sock || !LOAD(u64, LOAD(u64, sock, SOCKET_OPS), PROTO_OPS_SPLICE_READ))
		return;
	sk = LOAD(u64, sock, SOCKET_SK);
	if (!sk || was_counted_inside(sk, RX) || ret <= 0)
		return;
	read_endpoint(&end, sk, 0);
	if (is_network(end.family))
		charge(sk, &end, &end.remote, RX, ret);
}

/*
 * tcp_zerocopy_receive(sk, zc, …): TCP_ZEROCOPY_RECEIVE maps pages, and copies
 * what fills none; neither passes tcp_recvmsg().
 */
static __always_inline void on_tcp_zerocopy_receive(const struct tcp_zerocopy_receive *args, u64 result)
{
	u64 sk = args->sk;
	u64 bytes = LOAD(u32, args->zc, ZEROCOPY_LENGTH);
	struct endpoint end;
#ifdef ZEROCOPY_COPYBUF_LEN
	s32 copied = LOAD(s32, args->zc, ZEROCOPY_COPYBUF_LEN);

	if (copied > 0)
		bytes += copied;
#endif
	if ((int)result || !bytes)
		return;
	read_endpoint(&end, sk, 0);
	charge(sk, &end, &end.remote, RX, bytes);
}

#endif
