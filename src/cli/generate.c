/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/generate.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/str.h"
#include "cli/completion.h"
#include "cli/man.h"
#include "cli/verbs.h"

typedef void (*Printer)(FILE *stream);

static int write_file(const char *folder, const char *name, void (*print)(FILE *, const void *),
                      const void *what, Error *error) {
    _cleanup_free_ char *path = path_join(folder, name);
    _cleanup_fclose_ FILE *stream = fopen(path, "we");

    if (!stream)
        return error_set_errno(error, errno, "cannot write %s", path);
    print(stream, what);
    if (fflush(stream) != 0 || ferror(stream))
        return error_set_errno(error, errno ? errno : EIO, "cannot write %s", path);
    return 0;
}

static void print_man_all(FILE *stream, const void *what) {
    man_print_all(stream);
}

static void print_man_group(FILE *stream, const void *what) {
    man_print_group(stream, what);
}

static void print_man_verb(FILE *stream, const void *what) {
    man_print_verb(stream, what);
}

static void print_man_daemon(FILE *stream, const void *what) {
    man_print_daemon(stream);
}

static void print_completion(FILE *stream, const void *what) {
    (*(const Printer *)what)(stream);
}

static int generate_man(const char *folder, Error *error) {
    int r = write_file(folder, "ramet.1", print_man_all, NULL, error);
    for (size_t i = 0; r == 0 && i < n_verb_groups; i++) {
        _cleanup_free_ char *name = man_file_name(verb_groups[i].name);
        r = write_file(folder, name, print_man_group, &verb_groups[i], error);
    }
    for (size_t i = 0; r == 0 && i < n_verbs; i++) {
        _cleanup_free_ char *name = man_file_name(verbs[i]->name);
        r = write_file(folder, name, print_man_verb, verbs[i], error);
    }
    return r;
}

static int generate_into(const char *what, const char *folder, Error *error) {
    static const struct {
        const char *what;
        const char *file;
        Printer print;
    } completions[] = {{"bash", "ramet", completion_print_bash},
                       {"zsh", "_ramet", completion_print_zsh},
                       {"fish", "ramet.fish", completion_print_fish}};

    if (str_equal(what, "man"))
        return generate_man(folder, error);
    if (str_equal(what, "man8"))
        return write_file(folder, "rametd.8", print_man_daemon, NULL, error);
    for (size_t i = 0; i < ARRAY_SIZE(completions); i++)
        if (str_equal(what, completions[i].what))
            return write_file(folder, completions[i].file, print_completion, &completions[i].print,
                              error);
    return error_set(error, ERROR_USAGE, EINVAL, "--generate makes man, man8, bash, zsh or fish");
}

int generate_files(const char *what, const char *folder, Error *error) {
    int r = path_make_folders(folder, 0755);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", folder);
    r = generate_into(what, folder, error);
    if (r == 0) /* a build compares the folder's own time */
        (void)utimensat(AT_FDCWD, folder, NULL, 0);
    return r;
}
