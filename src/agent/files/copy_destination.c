/* SPDX-License-Identifier: Apache-2.0 */
/* As with `cp -r`: an archive goes into PATH when that is a folder; else its top entry takes the
 * name of PATH, whose parent must be there. An archive of "." puts its contents into PATH.
 *
 * The archive's names are hostile: each is cut into components; "..", absolute names and anything
 * too long is refused.
 *
 * What is new at the top is made under a name of our own, and gets its own when it is complete. */

#include "agent/files/copy_destination.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/agent.h"

static int open_base(CopyDestination *to, const char *path) {
    copy_text(to->base, sizeof(to->base), path);
    to->beneath.base_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to->beneath.base_fd < 0)
        return result_fail(to->result, errno, "%s", path);
    return 0;
}

int copy_destination_pick(CopyDestination *to, int parent, char name[COPY_TEMPORARY_SIZE]) {
    struct stat found;
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(name, COPY_TEMPORARY_SIZE, ".ramet-%d-%u", (int)getpid(), to->n_temporary++);
        if (fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT ? 0 : -errno;
    }
    return -EEXIST;
}

/* Splits the path; slashes at its end do not count. */
static int open_parent(CopyDestination *to, const char *path, char last[NAME_MAX + 1]) {
    char parent[PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    copy_text(parent, length + 1, path);
    char *slash = strrchr(parent, '/');
    const char *name = slash ? slash + 1 : parent;
    if (strlen(name) > NAME_MAX)
        return result_fail(to->result, ENAMETOOLONG, "%s", path);
    strcpy(last, name);
    if (!slash)
        return open_base(to, ".");
    slash[slash == parent] = '\0';
    return open_base(to, parent);
}

/* What becomes `name` in the base is made under another name first. */
static int begin_stage(CopyDestination *to, const char *name) {
    int r = copy_destination_pick(to, to->beneath.base_fd, to->stage);
    if (r < 0) {
        to->stage[0] = '\0';
        return result_fail(to->result, -r, "%s", to->base);
    }
    strcpy(to->final, name);
    to->stage_fd = fcntl(to->beneath.base_fd, F_DUPFD_CLOEXEC, 3);
    return to->stage_fd < 0 ? result_fail(to->result, errno, "%s", to->base) : 0;
}

/* PATH is new, and becomes a folder with the archive's contents. */
static int choose_new_contents(CopyDestination *to, const char *path) {
    char last[NAME_MAX + 1];
    int r = open_parent(to, path, last);
    if (r == 0)
        r = begin_stage(to, last);
    if (r < 0)
        return r;
    if (mkdirat(to->stage_fd, to->stage, 0700) < 0)
        return result_fail(to->result, errno, "%s", path);
    close_fd(&to->beneath.base_fd);
    to->beneath.base_fd = openat(to->stage_fd, to->stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to->beneath.base_fd < 0)
        return result_fail(to->result, errno, "%s", path);
    copy_text(to->base, sizeof(to->base), path);
    to->is_new = true;
    return 0;
}

/* The top entry gets the name `last` in the base, which is open. */
static int choose_name(CopyDestination *to, const char *last, bool is_folder) {
    struct stat found;
    bool exists = fstatat(to->beneath.base_fd, last, &found, AT_SYMLINK_NOFOLLOW) == 0;
    strcpy(to->renamed, last);
    /* into a folder that is there; what is in the way of another kind shows when it is made */
    if (to->through || (exists && (is_folder || S_ISDIR(found.st_mode))))
        return 0;
    int r = begin_stage(to, last);
    if (r == 0)
        strcpy(to->renamed, to->stage);
    return r;
}

static int choose_in_folder(CopyDestination *to, const char *path, bool is_folder) {
    int r = open_base(to, path);
    if (r < 0 || to->top[0] == '\0' || to->flags & COPY_EXTRACT)
        return r;
    return choose_name(to, to->top, is_folder);
}

static int choose_over_file(CopyDestination *to, const char *path, const struct stat *found) {
    char real[PATH_MAX], last[NAME_MAX + 1];
    to->through = S_ISCHR(found->st_mode) || S_ISBLK(found->st_mode);
    if (!to->through && !S_ISREG(found->st_mode))
        return result_say(to->result, EEXIST, "%s is neither a file nor a folder", path);
    /* A link to a file: the file is what is replaced. */
    int r = open_parent(to, realpath(path, real) ? real : path, last);
    return r < 0 ? r : choose_name(to, last, false);
}

static int choose(CopyDestination *to, bool is_folder) {
    const char *path = to->path;
    char last[NAME_MAX + 1];
    struct stat found;
    if (path[0] == '\0' || strlen(path) >= PATH_MAX)
        return result_say(to->result, EINVAL, "no destination was given");
    if (stat(path, &found) < 0) {
        bool must_be = to->flags & COPY_EXTRACT || (to->flags & COPY_INTO_FOLDER && !is_folder);
        if (errno != ENOENT || must_be)
            return result_fail(to->result, errno, "%s", path);
        if (to->top[0] == '\0')
            return choose_new_contents(to, path);
        return open_parent(to, path, last) < 0 ? -to->result->error
                                               : choose_name(to, last, is_folder);
    }
    if (S_ISDIR(found.st_mode))
        return choose_in_folder(to, path, is_folder);
    if (to->flags & (COPY_INTO_FOLDER | COPY_EXTRACT) || is_folder)
        return result_fail(to->result, ENOTDIR, "%s", path);
    return choose_over_file(to, path, &found);
}

/* "./a//b/" becomes "a/b". -EINVAL for what leads out. */
static int clean_name(CopyDestination *to, const char *name, char *clean, size_t room) {
    size_t n = 0;
    if (name[0] == '/')
        return result_say(to->result, EINVAL, "the archive holds an absolute name: %s", name);
    while (*name) {
        size_t length = strcspn(name, "/");
        if (length == 2 && name[0] == '.' && name[1] == '.')
            return result_say(to->result, EINVAL, "the archive holds a name with \"..\"");
        if (length > NAME_MAX || n + length + 2 > room)
            return result_say(to->result, ENAMETOOLONG,
                              "the archive holds a name that is too long");
        if (length > 0 && !(length == 1 && name[0] == '.')) {
            if (n > 0)
                clean[n++] = '/';
            memcpy(clean + n, name, length);
            n += length;
        }
        name += length;
        while (*name == '/')
            name++;
    }
    clean[n] = '\0';
    return 0;
}

int copy_destination_map(CopyDestination *to, const char *name, char *mapped) {
    char clean[PATH_MAX];
    int r = clean_name(to, name, clean, sizeof(clean));
    if (r < 0)
        return r;
    size_t first = strcspn(clean, "/");
    if (to->top[0] && !(to->flags & COPY_EXTRACT) &&
        (strlen(to->top) != first || memcmp(clean, to->top, first) != 0))
        return result_say(to->result, EINVAL, "the archive has more than one top entry");
    if (!to->renamed[0]) {
        strcpy(mapped, clean);
        return 0;
    }
    size_t length = strlen(to->renamed);
    if (length + strlen(clean + first) >= PATH_MAX)
        return result_say(to->result, ENAMETOOLONG, "a name in the archive is too long");
    memcpy(mapped, to->renamed, length);
    strcpy(mapped + length, clean + first);
    return 0;
}

int copy_destination_choose(CopyDestination *to, const TarEntry *entry) {
    char clean[PATH_MAX];
    int r = clean_name(to, entry->name, clean, sizeof(clean));
    size_t first;
    if (r < 0)
        return r;
    if (clean[0] == '\0' && entry->type != TAR_FOLDER)
        return result_say(to->result, EINVAL, "the archive holds an entry without a name");
    first = strcspn(clean, "/");
    bool is_folder = entry->type == TAR_FOLDER || clean[first];
    clean[first] = '\0';
    copy_text(to->top, sizeof(to->top), clean);
    return choose(to, is_folder);
}

int copy_destination_failed(CopyDestination *to, int error, const char *name) {
    size_t staged = to->renamed[0] ? strlen(to->stage) : 0;
    if (staged > 0 && strncmp(name, to->stage, staged) == 0)
        return result_fail(to->result, error, "%s%s%s%s", to->base,
                           strcmp(to->base, "/") == 0 ? "" : "/", to->final, name + staged);
    return result_fail(to->result, error, "%s%s%s", to->base, strcmp(to->base, "/") == 0 ? "" : "/",
                       name);
}

/* Copies what was written beside over a file that can only change, not go, as one that another is
 * mounted on (the agent does so in /etc). */
static int install_in_place(int parent, const char *temporary, const char *last) {
    _cleanup_close_ int from = openat(parent, temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_close_ int to = openat(parent, last, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    struct stat file;
    char buffer[4096];
    ssize_t n = from < 0 || to < 0 || fstat(from, &file) < 0 ? -1 : 1;
    while (n > 0) {
        n = read(from, buffer, sizeof(buffer));
        if (n > 0 && write_all(to, buffer, (size_t)n) < 0)
            n = -1;
    }
    if (n < 0 || fchmod(to, file.st_mode & 07777) < 0 ||
        futimens(to, (struct timespec[]){file.st_atim, file.st_mtim}) < 0)
        return -errno;
    return 0;
}

int copy_destination_install(int parent, const char *temporary, const char *last) {
    int r = renameat(parent, temporary, parent, last) < 0 ? -errno : 0;
    if (r == -EBUSY)
        r = install_in_place(parent, temporary, last);
    (void)unlinkat(parent, temporary, 0); /* also when both were links to the same file */
    return r;
}

void copy_destination_finish(CopyDestination *to) {
    int r = to->stage_fd >= 0 && to->result->error == 0
                ? copy_destination_install(to->stage_fd, to->stage, to->final)
                : 0;
    if (r < 0)
        (void)copy_destination_failed(to, -r, to->stage);
    if (to->stage_fd >= 0 && to->result->error != 0)
        path_beneath_remove(to->stage_fd, to->stage);
    close_fd(&to->stage_fd);
    path_beneath_close(&to->beneath);
}
