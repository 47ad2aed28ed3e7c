"""The kernel fields that the C program reads, by the macro that carries each one's offset.

Our C names no field in any other way.  Alternatives are the names of one field over time, newest first.
"""

import re
from collections.abc import Iterator
from typing import Final

from bwtop.capture.btf import Field, Kernel, MissingFieldError

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "SOCK_FAMILY": ("sock.__sk_common.skc_family",),
    "SOCK_STATE": ("sock.__sk_common.skc_state",),
    "SOCK_DADDR": ("sock.__sk_common.skc_daddr",),
    "SOCK_V6_DADDR": ("sock.__sk_common.skc_v6_daddr",),
    "SOCK_DPORT": ("sock.__sk_common.skc_dport",),
    "SOCK_NUM": ("sock.__sk_common.skc_num",),
    "SOCK_FLAGS": ("sock.__sk_common.skc_flags",),
    "SOCK_PROTOCOL": ("sock.sk_protocol",),
    "SOCK_TYPE": ("sock.sk_type",),
    "SOCK_USERLOCKS": ("sock.sk_userlocks",),
    "SOCK_MAX_ACK_BACKLOG": ("sock.sk_max_ack_backlog",),
    "SOCK_LOCK_OWNED": ("sock.sk_lock.owned",),
    "SOCK_SOCKET": ("sock.sk_socket",),
    "SOCK_RMEM_ALLOC": ("sock.sk_backlog.rmem_alloc",),
    "INET_SPORT": ("inet_sock.inet_sport",),
    "INET_SADDR": ("inet_sock.inet_saddr",),
    "INET_CORK_LENGTH": ("inet_sock.cork.base.length",),
    "INET_CORK_DADDR": ("inet_sock.cork.fl.u.ip4.daddr",),
    "INET_CORK_DPORT": ("inet_sock.cork.fl.u.ip4.uli.ports.dport",),
    "INET_CORK_V6_DADDR": ("inet_sock.cork.fl.u.ip6.daddr",),
    "INET_CORK_V6_DPORT": ("inet_sock.cork.fl.u.ip6.uli.ports.dport",),
    "SOCK_PROT": ("sock.__sk_common.skc_prot",),
    "SOCK_USER_DATA": ("sock.sk_user_data",),
    "SOCKET_SK": ("socket.sk",),
    "SOCKET_OPS": ("socket.ops",),
    "PROTO_SENDPAGE": ("proto.sendpage",),  # gone in 6.5
    "PROTO_OPS_SPLICE_READ": ("proto_ops.splice_read",),
    "MSGHDR_NAME": ("msghdr.msg_name",),
    "MSGHDR_FLAGS": ("msghdr.msg_flags",),
    "SKB_LEN": ("sk_buff.len",),
    "SKB_NEXT": ("sk_buff.next",),
    "SKB_HEAD": ("sk_buff.head",),
    "SKB_NETWORK_HEADER": ("sk_buff.network_header",),
    "SKB_TRANSPORT_HEADER": ("sk_buff.transport_header",),
    "FLOWI4_DADDR": ("flowi4.daddr",),
    "FLOWI4_DPORT": ("flowi4.uli.ports.dport",),
    "FLOWI4_SPORT": ("flowi4.uli.ports.sport",),
    "FLOWI6_DADDR": ("flowi6.daddr",),
    "FLOWI6_DPORT": ("flowi6.uli.ports.dport",),
    "FLOWI6_SPORT": ("flowi6.uli.ports.sport",),
    "CORK_LENGTH": ("inet_cork.length",),
    "ZEROCOPY_LENGTH": ("tcp_zerocopy_receive.length",),
    "ZEROCOPY_COPYBUF_LEN": ("tcp_zerocopy_receive.copybuf_len",),  # 5.11
    "UDP_PENDING": ("udp_sock.pending",),
    "UDP_FLAGS": ("udp_sock.udp_flags", "udp_sock.corkflag"),  # one flag of several since 6.6
    "TCP_COPIED_SEQ": ("tcp_sock.copied_seq",),
    "TCP_RCV_NXT": ("tcp_sock.rcv_nxt",),
    "TCP_URG_SEQ": ("tcp_sock.urg_seq",),
    "TCP_URG_DATA": ("tcp_sock.urg_data",),
    "TCP_REPAIR": ("tcp_sock.repair",),
    "TCP_ULP_OPS": ("tcp_sock.inet_conn.icsk_ulp_ops",),
    "TASK_GROUP_LEADER": ("task_struct.group_leader",),
    "TASK_TGID": ("task_struct.tgid",),
    "TASK_START_BOOTTIME": ("task_struct.start_boottime",),
    "TASK_SELF_EXEC_ID": ("task_struct.self_exec_id",),
    "TASK_FLAGS": ("task_struct.flags",),
    "TASK_COMM": ("task_struct.comm",),
    "TASK_MM": ("task_struct.mm",),
    "TASK_CRED": ("task_struct.cred",),
    "TASK_SIGNAL": ("task_struct.signal",),
    "TASK_CGROUPS": ("task_struct.cgroups",),
    "CRED_EUID": ("cred.euid",),
    "SIGNAL_LIVE": ("signal_struct.live",),
    "CSS_SET_DFL_CGRP": ("css_set.dfl_cgrp",),
    "CGROUP_KN": ("cgroup.kn",),
    "KERNFS_NAME": ("kernfs_node.name",),
    "KERNFS_PARENT": ("kernfs_node.__parent", "kernfs_node.parent"),  # renamed in 6.15
    "MM_EXE_FILE": ("mm_struct.exe_file",),
    "MM_ARG_START": ("mm_struct.arg_start",),
    "MM_ARG_END": ("mm_struct.arg_end",),
    "FILE_PRIVATE_DATA": ("file.private_data",),
    "FILE_PATH_MNT": ("file.f_path.mnt", "file.__f_path.mnt"),
    "FILE_PATH_DENTRY": ("file.f_path.dentry", "file.__f_path.dentry"),
    "DENTRY_NAME": ("dentry.d_name.name",),
    "DENTRY_PARENT": ("dentry.d_parent",),
    "DENTRY_HASH_PPREV": ("dentry.d_hash.pprev",),
    "VFSMOUNT_ROOT": ("vfsmount.mnt_root",),
    "MOUNT_MNT": ("mount.mnt",),
    "MOUNT_NS": ("mount.mnt_ns",),
    "MOUNT_PARENT": ("mount.mnt_parent",),
    "MOUNT_MOUNTPOINT": ("mount.mnt_mountpoint",),
}


OPTIONAL: Final = frozenset(
    {
        "PROTO_SENDPAGE",
        "ZEROCOPY_COPYBUF_LEN",
        *("MOUNT_MNT", "MOUNT_NS", "MOUNT_PARENT", "MOUNT_MOUNTPOINT"),  # not in headers
    }
)
"""Fields that programs can do without; without those of struct mount, processes have no path."""


def _locate(kernel: Kernel, alternatives: tuple[str, ...]) -> Field:
    for path in alternatives:
        try:
            return kernel.field(path)
        except MissingFieldError:
            continue
    raise MissingFieldError(alternatives[0])


def definitions(kernel: Kernel, text: str) -> Iterator[str]:
    """Yield the compiler's arguments for the fields that a program's text reads; raises MissingFieldError.

    They are -DMACRO=offset, and for a bit-field -DMACRO_MASK=mask too.
    """
    words = set(re.findall(r"[A-Z][A-Z0-9_]+", text))
    for macro, alternatives in FIELDS.items():
        if macro not in words:
            continue
        try:
            field = _locate(kernel, alternatives)
        except MissingFieldError:
            if macro in OPTIONAL:
                continue
            raise
        yield f"-D{macro}={field.offset}"
        if field.width:
            yield f"-D{macro}_MASK={field.mask}"
