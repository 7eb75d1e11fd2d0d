/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/utf8.h"

#define TREE_DEPTH_MAX 256
#define NAME_LENGTH_MAX 63
#define NAME_RULE "1 to 63 of a-z, 0-9, '_', '.' and '-', beginning with a letter or digit"

char *path_join_list(const char *first, ...) {
    StrBuf path = {0};
    va_list args;
    va_start(args, first);
    for (const char *part = first; part; part = va_arg(args, const char *)) {
        if (path.size > 0) {
            part += strspn(part, "/");
            if (path.data[path.size - 1] != '/')
                strbuf_add_text(&path, "/");
        }
        strbuf_add_text(&path, part);
    }
    va_end(args);
    return strbuf_steal(&path);
}

bool name_is_valid(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t length = strspn(name, letters);
    return length > 0 && length <= NAME_LENGTH_MAX && name[length] == '\0' &&
           !strchr("_.-", name[0]);
}

int name_check(const char *what, const char *name, Error *error) {
    if (name_is_valid(name))
        return 0;
    _cleanup_free_ char *shown = utf8_show(name, strnlen(name, 100));
    return error_set(error, ERROR_USAGE, 0, "'%s' is not a valid %s%sname: it needs " NAME_RULE,
                     shown, str_equal(what, "name") ? "" : what,
                     str_equal(what, "name") ? "" : " ");
}

int name_check_existing(const char *what, const char *name, Error *error) {
    const char *inner = name_within_lab(name);
    _cleanup_free_ char *lab = NULL;
    if (inner == name || !name_is_valid(inner))
        return name_check(what, name, error);
    lab = str_format("%.*s", (int)(inner - name - 1), name);
    return name_check("lab's", lab, error);
}

const char *name_within_lab(const char *name) {
    const char *slash = strchr(name, '/');
    return slash ? slash + 1 : name;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* An existing folder may also answer EROFS or EACCES, so only its absence tells a failure. */
static int make_folder(const char *path, mode_t mode) {
    if (mkdir(path, mode) == 0)
        return 0;
    int r = -errno;
    if (is_folder(path))
        return 0;
    return r == -EEXIST ? -ENOTDIR : r;
}

int path_make_folders(const char *path, mode_t mode) {
    _cleanup_free_ char *prefix = str_copy(path);
    for (char *slash = strchr(prefix + (*prefix == '/'), '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int r = make_folder(prefix, mode);
        if (r < 0)
            return r;
        *slash = '/';
    }
    return make_folder(path, mode);
}

static int remove_entry(int dir_fd, const char *name, unsigned depth);

static bool is_dot_name(const char *name) {
    return str_equal(name, ".") || str_equal(name, "..");
}

/* Takes folder_fd. */
static int remove_contents(int folder_fd, unsigned depth) {
    DIR *folder = fdopendir(folder_fd);
    if (!folder) {
        int r = -errno;
        fd_close(folder_fd);
        return r;
    }
    int first = 0;
    struct dirent *entry;
    while ((entry = readdir(folder))) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
        int r = is_dot_name(entry->d_name) ? 0 : remove_entry(dirfd(folder), entry->d_name, depth);
        if (first == 0)
            first = r;
    }
    (void)closedir(folder);
    return first;
}

/* Whatever the entry is, unlink(2) tells a folder from the rest, also when it is replaced
 * meanwhile; O_NOFOLLOW keeps us from entering a link that took a folder's place. */
static int remove_entry(int dir_fd, const char *name, unsigned depth) {
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -errno;
    if (depth >= TREE_DEPTH_MAX)
        return -ELOOP;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int first = fd >= 0 ? remove_contents(fd, depth + 1) : -errno;
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return first;
    return first < 0 ? first : -errno;
}

int path_remove_tree_at(int dir_fd, const char *name) {
    return remove_entry(dir_fd, name, 0);
}

int path_remove_tree(const char *path) {
    return path_remove_tree_at(AT_FDCWD, path);
}

static int sync_folder_at(int dir_fd, const char *path) {
    _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Makes the scratch file with its content safely on disk. */
static int write_scratch(int dir_fd, const char *name, const void *data, size_t size, mode_t mode) {
    _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = fd_write_full(fd, data, size);
    if (r < 0)
        return r;
    return fchmod(fd, mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

int path_write_atomic_at(int dir_fd, const char *name, const void *data, size_t size, mode_t mode) {
    if (*name == '\0' || strchr(name, '/'))
        return -EINVAL;
    _cleanup_free_ char *random = random_hex(8);
    _cleanup_free_ char *scratch = str_format(".%s.tmp", random);
    int r = write_scratch(dir_fd, scratch, data, size, mode);
    if (r == 0 && renameat(dir_fd, scratch, dir_fd, name) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dir_fd, scratch, 0);
        return r;
    }
    return sync_folder_at(dir_fd, ".");
}

int path_sync_folder(const char *path) {
    return sync_folder_at(AT_FDCWD, path);
}

static bool is_executable(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

/* folder/name when that is a program, or NULL. */
static char *find_in(const char *folder, const char *name) {
    _cleanup_free_ char *path = path_join(folder, name);
    return is_executable(path) ? TAKE_PTR(path) : NULL;
}

static bool search_path_has(const char *path, const char *folder) {
    size_t length = strlen(folder);
    for (const char *p = path; p; p = strchr(p, ':'), p += p != NULL)
        if (strncmp(p, folder, length) == 0 && (p[length] == ':' || p[length] == '\0'))
            return true;
    return false;
}

/* $PATH and the folders of system tools. The caller owns it. */
static char *whole_search_path(void) {
    static const char *const system_folders[] = {"/usr/local/sbin", "/usr/sbin", "/sbin"};
    const char *path = getenv("PATH");
    StrBuf whole = {0};
    strbuf_add_text(&whole, path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
    for (size_t i = 0; i < ARRAY_SIZE(system_folders); i++)
        if (!search_path_has(whole.data, system_folders[i]))
            strbuf_add_format(&whole, ":%s", system_folders[i]);
    return strbuf_steal(&whole);
}

void path_add_system_folders(void) {
    _cleanup_free_ char *whole = whole_search_path();
    (void)setenv("PATH", whole, 1);
}

char *path_find_program(const char *name) {
    if (strchr(name, '/'))
        return is_executable(name) ? str_copy(name) : NULL;
    _cleanup_free_ char *folders = whole_search_path();
    char *state = NULL;
    for (char *folder = strtok_r(folders, ":", &state); folder;
         folder = strtok_r(NULL, ":", &state)) {
        char *found = find_in(folder, name);
        if (found)
            return found;
    }
    return NULL;
}

/* The folder of this program's file. */
static char *own_folder(void) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    slash[1] = '\0';
    return str_copy(path);
}

char *path_find_sibling(const char *name) {
    _cleanup_free_ char *own = own_folder();
    const char *folders[] = {own, RAMET_LIBEXECDIR, RAMET_BINDIR};
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        char *found = folders[i] ? find_in(folders[i], name) : NULL;
        if (found)
            return found;
    }
    return NULL;
}
