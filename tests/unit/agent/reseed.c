/* SPDX-License-Identifier: Apache-2.0 */
/* A child that has drawn from OpenSSL is found, and draws from a generator that was seeded anew
 * each time that it is told of a fork that was none. */
#include "agent/identity/reseed.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* How often the generator of this thread was seeded. */
static unsigned seedings(void) {
    unsigned count = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_DRBG_PARAM_RESEED_COUNTER, &count),
                           OSSL_PARAM_construct_end()};
    CHECK_INT(EVP_RAND_CTX_get_params(RAND_get0_public(NULL), params), 1);
    return count;
}

static void draw_when_told(int in, int out) {
    unsigned char bytes[16];
    char byte;
    CHECK_INT(RAND_bytes(bytes, sizeof(bytes)), 1);
    while (write(out, (unsigned[]){seedings()}, sizeof(unsigned)) == (ssize_t)sizeof(unsigned) &&
           read(in, &byte, 1) == 1)
        CHECK_INT(RAND_bytes(bytes, sizeof(bytes)), 1);
    _exit(0);
}

static unsigned answer(int fd) {
    unsigned count = 0;
    CHECK_INT(read(fd, &count, sizeof(count)), (ssize_t)sizeof(count));
    return count;
}

/* A folder with that process alone: what else runs on this host is left alone. */
static void show_only(pid_t pid, char folder[32], char link[64]) {
    char target[32];
    (void)strcpy(folder, "/tmp/ramet-reseed-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(link, 64, "%s/%d", folder, (int)pid);
    (void)snprintf(target, sizeof(target), "/proc/%d", (int)pid);
    CHECK_INT(symlink(target, link), 0);
}

static void test_reseeds(void) {
    int to[2], from[2], status = -1;
    char proc[32], link[64];
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        draw_when_told(to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    show_only(pid, proc, link);
    unsigned before = answer(from[0]);
    CHECK_INT(write(to[1], "x", 1), 1);
    CHECK_INT(answer(from[0]), before); /* not by itself */
    for (unsigned i = 1; i <= 4; i++) {
        CHECK(reseed_prepare(proc) > 0);
        reseed_apply();
        reseed_forget();
        CHECK_INT(write(to[1], "x", 1), 1);
        CHECK_INT(answer(from[0]), before + i);
    }
    CHECK(reseed_prepare(proc) > 0);
    reseed_forget(); /* as in the source: nothing changes */
    reseed_apply();
    CHECK_INT(write(to[1], "x", 1), 1);
    CHECK_INT(answer(from[0]), before + 4);
    (void)close(to[1]);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    CHECK_INT(unlink(link), 0);
    CHECK_INT(rmdir(proc), 0);
}

int main(void) {
    RUN(test_reseeds);
    return 0;
}
