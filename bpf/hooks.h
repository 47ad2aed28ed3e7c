/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The hooked functions: program, function, handler.  The backend's EXIT and ENTRY
 * make programs of them, which call the handler with the function's arguments
 * and, at its exit, its result; AROUND makes one of each, that of the entry with
 * _in behind its name.
 */
#ifndef BWTOP_HOOKS_H
#define BWTOP_HOOKS_H

#include "sockets.h"
#include "udp.h"

#ifndef EXIT		/* this file alone */
#define EXIT(program, function, handler)
#define ENTRY(program, function, handler)
#define AROUND(program, function, entry_handler, exit_handler)
#endif

#ifndef ONE_LAYER
EXIT(bwtop_tcp_sendmsg, tcp_sendmsg, on_tcp_sendmsg)
EXIT(bwtop_tcp_recvmsg, tcp_recvmsg, on_tcp_recvmsg)
EXIT(bwtop_udp_sendmsg, udp_sendmsg, on_udp_sendmsg)
EXIT(bwtop_udp_recvmsg, udp_recvmsg, on_udp_recvmsg)
EXIT(bwtop_udpv6_sendmsg, udpv6_sendmsg, on_udp_sendmsg)
EXIT(bwtop_udpv6_recvmsg, udpv6_recvmsg, on_udp_recvmsg)
#endif

#ifdef BWTOP_BY_CALL_H
EXIT(bwtop_ip_append_data, ip_append_data, on_ip_append)
EXIT(bwtop_ip6_append_data, ip6_append_data, on_ip_append)
EXIT(bwtop_ip_append_page, ip_append_page, on_ip_append)
AROUND(bwtop_udp_push, udp_push_pending_frames, on_cork_ends, on_cork_ended)
AROUND(bwtop_udp_v6_push, udp_v6_push_pending_frames, on_cork_ends, on_cork_ended)
AROUND(bwtop_udp_splice_eof, udp_splice_eof, on_splice_ends, on_splice_ended)
AROUND(bwtop_udpv6_splice_eof, udpv6_splice_eof, on_splice_ends, on_splice_ended)
#else
EXIT(bwtop_udp_send_skb, udp_send_skb, on_udp_send_skb)
EXIT(bwtop_udp_v6_send_skb, udp_v6_send_skb, on_udp_v6_send_skb)
EXIT(bwtop_udp_push, udp_push_pending_frames, on_udp_push_pending_frames)
EXIT(bwtop_udp_v6_push, udp_v6_push_pending_frames, on_udp_push_pending_frames)
EXIT(bwtop_udp_splice_eof, udp_splice_eof, on_splice_ended)
EXIT(bwtop_udpv6_splice_eof, udpv6_splice_eof, on_splice_ended)
#endif
ENTRY(bwtop_skb_consume_udp, skb_consume_udp, on_skb_consume_udp)

EXIT(bwtop_inet_sendmsg, inet_sendmsg, on_inet_sendmsg)
EXIT(bwtop_inet6_sendmsg, inet6_sendmsg, on_inet_sendmsg)
EXIT(bwtop_inet_recvmsg, inet_recvmsg, on_inet_recvmsg)
EXIT(bwtop_inet6_recvmsg, inet6_recvmsg, on_inet_recvmsg)
EXIT(bwtop_sock_common_recvmsg, sock_common_recvmsg, on_inet_recvmsg)
#ifdef PROTO_SENDPAGE
EXIT(bwtop_inet_sendpage, inet_sendpage, on_inet_sendpage)
#endif

EXIT(bwtop_sock_splice_read, sock_splice_read, on_sock_splice_read)
EXIT(bwtop_tcp_splice_read, tcp_splice_read, on_tcp_splice_read)
EXIT(bwtop_tcp_zerocopy_receive, tcp_zerocopy_receive, on_tcp_zerocopy_receive)
EXIT(bwtop_skb_recv_datagram, skb_recv_datagram, on_skb_recv_datagram)
EXIT(bwtop_packet_sendmsg, packet_sendmsg, on_packet_sendmsg)
EXIT(bwtop_packet_sendmsg_spkt, packet_sendmsg_spkt, on_packet_sendmsg)
ENTRY(bwtop_inet_release, inet_release, on_inet_release)

#endif
