/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Asked for by BCC's command line; its own helpers test this one option. */
#ifndef BWTOP_LINUX_KCONFIG_H
#define BWTOP_LINUX_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

#endif
