/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Asked for by BCC's command line; its own helpers test this one option. */
#define CONFIG_BPF_SYSCALL 1
