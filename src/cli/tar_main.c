/* SPDX-License-Identifier: Apache-2.0 */
/* ramet-tar, the helper of `ramet cp` (copy_archive.h says why it is a program of its own):
 *
 *     ramet-tar create FLAGS PATH     an archive of PATH on standard output
 *     ramet-tar extract FLAGS PATH    the archive on standard input
 *
 * An error is one JSON object on standard error, and exit status 1. */

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/copy_archive.h"

static int usage(void) {
    (void)fputs("usage: ramet-tar create|extract FLAGS PATH\n", stderr);
    return 2;
}

/* The client may end at any time, also by the terminal's signals, which come here as well. Then the
 * pipe ends, and what is half made is removed. */
static void outlive_the_client(void) {
    const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        (void)signal(numbers[i], SIG_IGN);
    (void)prctl(PR_SET_PDEATHSIG, 0);
}

static void tell(const Error *error) {
    _cleanup_json_ json_t *json = json_from_error(error);
    _cleanup_free_ char *text = json_to_text(json);
    (void)fd_write_full(STDERR_FILENO, text, strlen(text));
}

int main(int argc, char **argv) {
    _cleanup_error_ Error error = ERROR_INIT;
    uint64_t flags;
    int r;
    if (fd_open_standard() < 0)
        return 1;
    if (argc != 4 || parse_u64(argv[2], UINT32_MAX, &flags) < 0)
        return usage();
    outlive_the_client();
    if (strcmp(argv[1], "create") == 0)
        r = archive_create(argv[3], flags, STDOUT_FILENO, &error);
    else if (strcmp(argv[1], "extract") == 0)
        r = archive_extract(STDIN_FILENO, argv[3], flags, &error);
    else
        return usage();
    if (r == 0)
        return 0;
    tell(&error);
    return 1;
}
