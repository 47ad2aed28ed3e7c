/* SPDX-License-Identifier: MIT */
/* A name service (nsswitch.conf(5)) as slow as a directory far away: the users 70000 and up, after three seconds each. */
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

enum nss_status _nss_slow_getpwuid_r(uid_t uid, struct passwd *found, char *buffer, size_t size,
				     int *error)
{
	if (uid < 70000 || uid > 79999)
		return NSS_STATUS_NOTFOUND;
	sleep(3);
	if (snprintf(buffer, size, "slow-%u", uid) >= (int)size) {
		*error = ERANGE;
		return NSS_STATUS_TRYAGAIN;
	}
	*found = (struct passwd){buffer, "x", uid, uid, "", "/", "/bin/false"};
	return NSS_STATUS_SUCCESS;
}
