/* SPDX-License-Identifier: Apache-2.0 */
#include "image/apt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"

#define SHOW_TIMEOUT_USEC (120 * USEC_PER_SEC)
#define DOWNLOAD_TIMEOUT_USEC (1800 * USEC_PER_SEC)

void apt_package_free(AptPackage *package) {
    free(package->name);
    free(package->version);
    free(package->depends);
    *package = (AptPackage){0};
}

uint64_t apt_lists_stamp(void) {
    struct stat st;
    if (stat("/var/lib/apt/lists", &st) < 0)
        return 0;
    return (uint64_t)st.st_mtim.tv_sec * 1000000 + (uint64_t)st.st_mtim.tv_nsec / 1000;
}

char *apt_field(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; *line && *line != '\n';) {
        size_t size = strcspn(line, "\n");
        if (size > length && strncasecmp(line, name, length) == 0 && line[length] == ':') {
            const char *value = line + length + 1;
            value += strspn(value, " \t");
            return value > line + size ? str_copy("")
                                       : strndup(value, size - (size_t)(value - line));
        }
        line += size + (line[size] == '\n');
    }
    return NULL;
}

static int require_program(const char *name, char **program, Error *error) {
    *program = path_find_program(name);
    if (*program)
        return 0;
    int r = error_set(error, ERROR_UNSUPPORTED, ENOENT, "%s is missing", name);
    error_set_hint(error, "on a host without apt, name a kernel with --kernel and --modules");
    return r;
}

static int unknown_package(const char *name, Error *error) {
    int r = error_set(error, ERROR_NOT_FOUND, ENOENT, "apt knows no package %s", name);
    error_set_hint(error, "run apt-get update");
    return r;
}

static int fill_package(const char *text, const char *name, AptPackage *package, Error *error) {
    _cleanup_(apt_package_free) AptPackage found = {
        .name = apt_field(text, "Package"),
        .version = apt_field(text, "Version"),
        .depends = apt_field(text, "Depends"),
    };
    _cleanup_free_ char *sha256 = apt_field(text, "SHA256");
    uint8_t digest[SHA256_SIZE];
    if (!found.depends)
        found.depends = str_copy("");
    /* A package that is installed, but in no list (any more), shows no digest. */
    if (!found.name || !found.version || !sha256 || hex_decode(sha256, digest, sizeof(digest)) < 0)
        return unknown_package(name, error);
    memcpy(found.sha256, sha256, SHA256_HEX_SIZE);
    *package = found;
    found = (AptPackage){0};
    return 0;
}

int apt_show(const ImageContext *context, const char *name, AptPackage *package, Error *error) {
    _cleanup_free_ char *program = NULL;
    int r = require_program("apt-cache", &program, error);
    if (r < 0)
        return r;
    char *argv[] = {program, (char *)"show", (char *)"--no-all-versions", (char *)(uintptr_t)name,
                    NULL};
    SpawnOptions options = {.program = program, .argv = argv, .die_with_parent = true};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    r = spawn_run(&options, SHOW_TIMEOUT_USEC, context->cancel_fd, &output, error);
    if (r == -ECANCELED || r == -ETIMEDOUT)
        return r;
    if (r < 0 || !output.out)
        return unknown_package(name, error);
    return fill_package(output.out, name, package, error);
}

/* The one .deb in the folder. */
static char *find_deb(const char *folder) {
    DIR *dir = opendir(folder);
    char *found = NULL;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));)
        if (str_has_suffix(entry->d_name, ".deb"))
            found = path_join(folder, entry->d_name);
    if (dir)
        (void)closedir(dir);
    return found;
}

static int check_digest(const char *path, const char *sha256, Error *error) {
    char hex[SHA256_HEX_SIZE];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    int r = sha256_file(fd, hex, error);
    if (r < 0)
        return r;
    if (!str_equal(hex, sha256))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "%s has the digest %s instead of %s", path,
                         hex, sha256);
    return 0;
}

static int run_download(const ImageContext *context, const AptPackage *package, const char *folder,
                        Error *error) {
    _cleanup_free_ char *apt = NULL, *wanted = str_format("%s=%s", package->name, package->version);
    int r = require_program("apt-get", &apt, error);
    if (r < 0)
        return r;
    /* Scratch is not open to the user that apt drops to, so it downloads as the one that runs it.
     */
    _cleanup_(strlist_free) StrList argv = {0};
    _cleanup_free_ char *env = path_find_program("env");
    strlist_add_many(&argv, "env", "-C", folder, apt, "-q", "-o", "APT::Sandbox::User=root",
                     "download", wanted, NULL);
    SpawnOptions options = {
        .program = env ? env : "/usr/bin/env", .argv = argv.items, .die_with_parent = true};
    return spawn_run(&options, DOWNLOAD_TIMEOUT_USEC, context->cancel_fd, NULL, error);
}

int apt_download(const ImageContext *context, const AptPackage *package, const char *folder,
                 char **path, Error *error) {
    _cleanup_free_ char *step = str_format("downloading %s", package->name);
    image_context_progress(context, step, 0, 0);
    int r = run_download(context, package, folder, error);
    if (r < 0) {
        r = error_add_context(error, "cannot download %s", package->name);
        if (r != -ECANCELED && error && !error->hint)
            error_set_hint(error, "run apt-get update, and look whether the network is up");
        return r;
    }
    _cleanup_free_ char *found = find_deb(folder);
    if (!found)
        return error_set(error, ERROR_FAILED, ENOENT, "apt-get left no package %s", package->name);
    r = check_digest(found, package->sha256, error);
    if (r < 0)
        return r;
    *path = TAKE_PTR(found);
    return 0;
}
