/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_SCRATCH_H
#define RAMET_TESTS_SCRATCH_H

/* A folder of its own for each test, removed when the variable leaves its scope:
 *
 *     _cleanup_scratch_ char *folder = scratch_new();
 */

#include "base/path.h"
#include "base/str.h"
#include "check.h"

static inline char *scratch_new(void) {
    const char *parent = getenv("TMPDIR");
    char *path = path_join(parent ? parent : "/tmp", "ramet-test-XXXXXX");
    CHECK(mkdtemp(path));
    return path;
}

static inline void scratch_free_p(char **path) {
    CHECK_INT(path_remove_tree(*path), 0);
    free(*path);
}
#define _cleanup_scratch_ _cleanup_(scratch_free_p)

#endif
