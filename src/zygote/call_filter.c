/* SPDX-License-Identifier: Apache-2.0 */
#include "zygote/call_filter.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/util.h"

#ifndef CALL_FILTER_NONE

/* mmap and mprotect without PROT_EXEC, for malloc and large buffers. */
static int allow_memory(scmp_filter_ctx context) {
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(calls); i++)
        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, calls[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return r;
}

static int load(scmp_filter_ctx context, const int *allowed, size_t count,
                int (*add_rules)(scmp_filter_ctx context)) {
    int r = allow_memory(context);
    if (r == 0)
        r = add_rules(context);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, allowed[i], 0);
    return r < 0 ? r : seccomp_load(context);
}

int call_filter_load(const int *allowed, size_t count, int (*add_rules)(scmp_filter_ctx context),
                     Error *error) {
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!context)
        return error_set(error, ERROR_NO_MEMORY, ENOMEM, "cannot make the system call filter");
    int r = load(context, allowed, count, add_rules);
    seccomp_release(context);
    return r < 0 ? error_set_errno(error, -r, "cannot load the system call filter") : 0;
}

#else

int call_filter_load(const int *allowed, size_t count, int (*add_rules)(scmp_filter_ctx context),
                     Error *error) {
    (void)allowed, (void)count, (void)add_rules, (void)error;
    return 0;
}

#endif
