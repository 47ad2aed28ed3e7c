/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Asked for by BCC; nothing of it is used. */
