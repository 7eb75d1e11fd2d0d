/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in a guest: a program that has drawn random numbers from OpenSSL, and draws more when it is
 * told to. For N = 1, 2, … it waits for FOLDER/go-N and writes FOLDER/out-N: "BYTES CHANGES", the
 * latter how often /run/ramet/generation was changed since it started, as inotify tells.
 * drawer FOLDER. */

#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

static unsigned changes;

static void count_changes(int fd) {
    struct inotify_event event;
    while (read(fd, &event, sizeof(event)) == (ssize_t)sizeof(event))
        changes++;
}

static void draw(const char *path) {
    unsigned char bytes[16];
    char partial[300];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        exit(1);
    (void)snprintf(partial, sizeof(partial), "%s.part", path);
    FILE *file = fopen(partial, "we");

    if (!file)
        exit(1);
    for (size_t i = 0; i < sizeof(bytes); i++)
        (void)fprintf(file, "%02x", bytes[i]);
    (void)fprintf(file, " %u\n", changes);
    if (fclose(file) != 0 || rename(partial, path) < 0)
        exit(1);
}

int main(int argc, char **argv) {
    unsigned char first[8];
    char go[256], out[256];
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (argc != 2 || RAND_bytes(first, sizeof(first)) != 1 || fd < 0 ||
        inotify_add_watch(fd, "/run/ramet/generation", IN_MODIFY) < 0)
        return 1;
    for (unsigned n = 1;; n++) {
        (void)snprintf(go, sizeof(go), "%s/go-%u", argv[1], n);
        (void)snprintf(out, sizeof(out), "%s/out-%u", argv[1], n);
        while (access(go, F_OK) < 0)
            (void)usleep(10000);
        count_changes(fd);
        draw(out);
    }
}
