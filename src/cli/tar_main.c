/* SPDX-License-Identifier: Apache-2.0 */
/* ramet-tar, the helper of `ramet cp` (copy_archive.h says why it is a program of its own):
 *
 *     ramet-tar create PATH NAME      an archive of PATH on standard output
 *     ramet-tar extract FOLDER [NAME] the archive on standard input
 *
 * An error is one JSON object on standard error, and exit status 1. */

#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "cli/copy_archive.h"

static int usage(void) {
    (void)fputs("usage: ramet-tar create PATH NAME | ramet-tar extract FOLDER [NAME]\n", stderr);
    return 2;
}

int main(int argc, char **argv) {
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *json = NULL;
    _cleanup_free_ char *text = NULL;
    int r;

    if (argc == 4 && strcmp(argv[1], "create") == 0)
        r = archive_create(argv[2], argv[3], STDOUT_FILENO, &error);
    else if ((argc == 3 || argc == 4) && strcmp(argv[1], "extract") == 0)
        r = archive_extract(STDIN_FILENO, argv[2], argc == 4 ? argv[3] : NULL, &error);
    else
        return usage();
    if (r == 0)
        return 0;
    json = json_from_error(&error);
    text = json_to_text(json);
    (void)fd_write_full(STDERR_FILENO, text, strlen(text));
    return 1;
}
