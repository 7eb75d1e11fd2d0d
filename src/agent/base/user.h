/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_AGENT_BASE_USER_H
#define RAMET_AGENT_BASE_USER_H

#include "agent/base/util.h"

#define USER_GROUPS_MAX 64

typedef struct User {
    uid_t uid;
    gid_t gid;
    int n_groups; /* supplementary ones, the primary included */
    gid_t groups[USER_GROUPS_MAX];
    char name[64];
    char home[256];
} User;

/* "name", "uid", "name:group" or "uid:gid", looked up in the guest's /etc/passwd and /etc/group; an
 * empty specification is root. A number needs no entry. 0 or a negative errno, -ENOENT for a name
 * that is not there. */
int user_find(const char *specification, User *user, Result *result);

/* Before a snapshot: looks up root, whom most commands are for. */
void user_prepare(void);

#endif
