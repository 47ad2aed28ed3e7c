/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * BCC's helpers.h compares versions to choose declarations.  Nothing of ours
 * depends on the value: features are probed, never derived from a version.
 */
#ifndef BWTOP_LINUX_VERSION_H
#define BWTOP_LINUX_VERSION_H

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 3, 0)

#endif
