/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_IMAGE_TOGETHER_H
#define RAMET_TESTS_IMAGE_TOGETHER_H

/* Eight that import one image at once, in two processes with four threads each. */

#include <pthread.h>
#include <sys/wait.h>

#include "check.h"
#include "image/image.h"

typedef struct TogetherOne {
    void (*import)(ImageInfo *info);
    ImageInfo info;
    pthread_t thread;
} TogetherOne;

static inline void *together_run_one(void *data) {
    TogetherOne *one = data;
    one->import(&one->info);
    return NULL;
}

/* How many of four have extracted it. */
static inline int together_run_four(void (*import)(ImageInfo *info)) {
    TogetherOne all[4];
    int extracted = 0;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        all[i] = (TogetherOne){.import = import};
        CHECK_INT(pthread_create(&all[i].thread, NULL, together_run_one, &all[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        CHECK_INT(pthread_join(all[i].thread, NULL), 0);
        CHECK_STR(all[i].info.digest, all[0].info.digest);
        extracted += !all[i].info.reused;
    }
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        image_info_free(&all[i].info);
    return extracted;
}

/* One of the eight extracts, and all of them get the same. import checks its own success. */
static inline void together_check(void (*import)(ImageInfo *info)) {
    pid_t child = fork();
    if (child == 0)
        _exit(together_run_four(import));
    int here = together_run_four(import), status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(here + WEXITSTATUS(status), 1);
}

#endif
