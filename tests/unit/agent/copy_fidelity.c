/* SPDX-License-Identifier: Apache-2.0 */
/* What a copy must not lose, and what it must say when it does. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/base/util.h"
#include "agent/files/copy.h"
#include "check.h"
#include "proto/agent.h"

static char folder[] = "/tmp/ramet-fidelity-XXXXXX";

static bool shell(const char *format, const char *argument) {
    char command[2048];
    (void)snprintf(command, sizeof(command), format, argument);
    return system(command) == 0;
}

static int send_tree(const char *name, uint64_t flags, Result *result) {
    int fd = memfd_create("archive", MFD_CLOEXEC);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    CHECK(fd >= 0);
    copy_out_worker(&(CopyRequest){.path = name[0] == '/' ? name : path, .flags = flags}, -1, fd,
                    result);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static Result take_tree(int fd, const char *name, uint64_t flags) {
    Result result = {0};
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    copy_in_worker(&(CopyRequest){.path = path, .flags = flags}, fd, -1, &result);
    (void)close(fd);
    return result;
}

/* There and back through both workers; what the sender said is in *sent. */
static Result copy_tree(const char *from, uint64_t out_flags, const char *to, uint64_t in_flags,
                        Result *sent) {
    *sent = (Result){0};
    return take_tree(send_tree(from, out_flags, sent), to, in_flags);
}

static void copy_well(const char *from, const char *to) {
    Result sent;
    CHECK_STR(copy_tree(from, 0, to, 0, &sent).text, "");
    CHECK_STR(sent.text, "");
}

static void test_times(void) {
    static const struct {
        const char *name;
        struct timespec time;
    } files[] = {{"y1960", {-315619200, 0}},         {"y1969", {-1, 0}},
                 {"half", {-2, 500000000}},          {"epoch", {0, 1}},
                 {"y2040", {2208988800, 123456789}}, {"y2300", {10413792000, 999999999}}};
    char path[256];
    struct stat st;
    CHECK(shell("mkdir %s/times", folder));
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, files[i].time};
        (void)snprintf(path, sizeof(path), "%s/times/%s", folder, files[i].name);
        CHECK(mknod(path, S_IFREG | 0644, 0) == 0);
        CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
    }
    copy_well("times", "times2");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/times2/%s", folder, files[i].name);
        CHECK(stat(path, &st) == 0);
        CHECK_INT(st.st_mtim.tv_sec, files[i].time.tv_sec);
        CHECK_INT(st.st_mtim.tv_nsec, files[i].time.tv_nsec);
    }
    /* GNU tar writes them in its own way */
    CHECK(shell("cd %s && tar --format=gnu -cf gnu.tar times && mkdir by-gnu", folder));
    (void)snprintf(path, sizeof(path), "%s/gnu.tar", folder);
    CHECK_STR(take_tree(open(path, O_RDONLY | O_CLOEXEC), "by-gnu", 0).text, "");
    CHECK(shell("cd %s && test $(stat -c %%Y by-gnu/times/y1960) = -315619200 && "
                "test $(stat -c %%Y by-gnu/times/y2300) = 10413792000",
                folder));
}

static void test_modes(void) {
    Result sent;
    CHECK(shell("cd %s && mkdir -m 1777 modes && mkdir -m 2775 modes/group && "
                "for m in 4755 2755 6711 1644 0000 0777; do "
                "touch modes/$m && chmod $m modes/$m; done",
                folder));
    copy_well("modes", "modes2");
    CHECK(
        shell("cd %s && (cd modes && stat -c '%%n %%a' . *) >a && (cd modes2 && stat -c '%%n %%a' "
              ". *) >b && diff a b",
              folder));
    Result kept = copy_tree("modes", 0, "modes3", COPY_NO_SET_ID, &sent);
    CHECK_INT(kept.error, ENOTSUP);
    CHECK_CONTAINS(kept.text, "set-id bits");
    CHECK_CONTAINS(kept.text, "and 3 more");
    CHECK(shell("cd %s/modes3 && test $(stat -c %%a .)$(stat -c %%a group)$(stat -c %%a 6711) = "
                "1777775711",
                folder));
}

static void test_kernels_files(void) {
    char path[256];
    struct stat st;
    copy_well("/proc/cpuinfo", "cpuinfo");
    CHECK(shell("cd %s && test -s cpuinfo && ! grep -q -P '\\x00' cpuinfo", folder));
    copy_well("/proc/self/status", "status");
    copy_well("/sys/kernel/mm/transparent_hugepage/enabled", "sysfs");
    (void)snprintf(path, sizeof(path), "%s/sysfs", folder);
    CHECK(stat(path, &st) == 0);
    CHECK(st.st_size > 0 && st.st_size < 4096); /* stat says 4096 of the original */
    CHECK(shell("cmp %s/sysfs /sys/kernel/mm/transparent_hugepage/enabled", folder));
    /* larger than the buffer, and yet of no known size */
    if (shell("test $(wc -c </proc/kallsyms) -gt 100000 %s", "")) {
        copy_well("/proc/kallsyms", "kallsyms");
        CHECK(shell("cmp %s/kallsyms /proc/kallsyms", folder));
    }
}

static void test_left_out(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Result sent;
    CHECK(shell("mkdir %s/sockets && echo x >%1$s/sockets/file", folder));
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/sockets/s", folder);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK_INT(copy_tree("sockets", 0, "sockets2", 0, &sent).error, 0);
    CHECK_STR(sent.text, "all but this was copied: sockets/s (a socket)");
    CHECK(shell("test -f %s/sockets2/file && test ! -e %1$s/sockets2/s", folder));
    CHECK_INT(copy_tree("/dev/null", 0, "null", 0, &sent).error, EBADMSG);
    CHECK_CONTAINS(sent.text, "(a device)");
}

static void test_unreadable(void) {
    Result sent;
    CHECK(shell("cd %s && mkdir odd && echo a >odd/a && echo z >odd/z && ln -s nowhere odd/l1 && "
                "ln -s nowhere odd/l2",
                folder));
    CHECK_INT(copy_tree("odd", COPY_FOLLOW, "odd2", 0, &sent).error, 0);
    CHECK_CONTAINS(sent.text, "odd/l");
    CHECK_CONTAINS(sent.text, "(and 1 more): No such file or directory");
    CHECK(shell("cd %s/odd2 && test \"$(cat a z | tr -d '\\n')\" = az && test ! -L l1", folder));
}

static void test_follow(void) {
    Result sent;
    CHECK(shell("cd %s && mkdir -p follow/d && echo f >follow/d/f && ln -s d follow/folder && "
                "ln -s d/f follow/file && ln -s .. follow/d/circle && ln -s follow top",
                folder));
    CHECK_STR(copy_tree("top", 0, "as-link", 0, &sent).text, "");
    CHECK(shell("test -L %s/as-link", folder));
    CHECK_STR(copy_tree("top/", 0, "slashed", 0, &sent).text, "");
    CHECK_STR(sent.text, "");
    CHECK(shell("test -d %s/slashed -a -L %1$s/slashed/folder", folder));
    CHECK_STR(copy_tree("top", COPY_FOLLOW, "followed", 0, &sent).text, "");
    CHECK_INT(sent.error, ELOOP);
    CHECK(
        shell("cd %s/followed && test -f folder/f -a ! -L folder -a -f file -a ! -L file", folder));
}

static void test_contents(void) {
    Result sent;
    CHECK(shell("cd %s && mkdir -m 750 D && echo y >D/y && mkdir there", folder));
    copy_well("D/.", "there");
    CHECK(shell("test -f %s/there/y", folder));
    copy_well("D/.", "fresh");
    CHECK(shell("test -f %s/fresh/y && test $(stat -c %%a %1$s/fresh) = 750", folder));
    copy_well("D", "there");
    CHECK(shell("test -f %s/there/D/y", folder));
    copy_well("D/", "there/");
    copy_well("D", "with-slash/");
    CHECK(shell("test -f %s/with-slash/y", folder));
    CHECK_INT(copy_tree("D/y/.", 0, "no", 0, &sent).error, EBADMSG);
    CHECK_INT(sent.error, ENOTDIR);
    CHECK_INT(copy_tree("D/y", 0, "not-there/", COPY_INTO_FOLDER, &sent).error, ENOENT);
}

/* Names are bytes. */
static void test_names(void) {
    CHECK(shell("cd %s && mkdir names && cd names && "
                "touch \"$(printf 'caf\\351')\" \"$(printf 'a\\nb')\" "
                "\"$(printf '\\377%%0150d' 1)\" && ln -s \"$(printf '\\377')\" link",
                folder));
    copy_well("names", "names2");
    CHECK(shell("cd %s && diff -r --no-dereference names names2", folder));
}

/* Anybody's archive has several tops, and goes into a folder that is there. */
static void test_extract(void) {
    char path[256];
    CHECK(shell("cd %s && mkdir into && tar -cf many.tar D odd/a && rm -rf unpacked", folder));
    (void)snprintf(path, sizeof(path), "%s/many.tar", folder);
    CHECK_STR(take_tree(open(path, O_RDONLY | O_CLOEXEC), "into", COPY_EXTRACT).text, "");
    CHECK(shell("cd %s/into && test -f D/y -a -f odd/a", folder));
    CHECK_INT(take_tree(open(path, O_RDONLY | O_CLOEXEC), "unpacked", COPY_EXTRACT).error, ENOENT);
    CHECK_INT(take_tree(open(path, O_RDONLY | O_CLOEXEC), "into/D/y", COPY_EXTRACT).error, ENOTDIR);
}

/* Cut anywhere, it leaves what was there as it was, and nothing of its own. */
static void test_cut_off(void) {
    Result sent = {0};
    struct stat st;
    int whole = send_tree("D", 0, &sent);
    CHECK(shell("cd %s && mkdir -p cut/D && echo old >cut/D/y && mkdir empty", folder));
    CHECK(fstat(whole, &st) == 0);
    for (off_t size = 0; size < st.st_size - 1024; size += 100) {
        static const char *const into[] = {"empty", "empty/new", "cut"};
        for (size_t i = 0; i < ARRAY_SIZE(into); i++) {
            int fd = send_tree("D", 0, &sent);
            CHECK(ftruncate(fd, size) == 0);
            CHECK_INT(take_tree(fd, into[i], 0).error, EBADMSG);
        }
    }
    (void)close(whole);
    CHECK(shell("cd %s && test -z \"$(ls -A empty)\" && test \"$(ls -A cut/D)\" = y", folder));
}

static atomic_bool stop;

static void *shrink_and_grow(void *path) {
    while (!stop)
        CHECK(truncate(path, 70000) == 0 && truncate(path, 20 << 20) == 0);
    return NULL;
}

/* Whatever comes of it, no file is padded and called whole. */
static void test_shrinking(void) {
    char path[256], data[70000];
    pthread_t thread;
    int fd;
    (void)snprintf(path, sizeof(path), "%s/shrinks", folder);
    memset(data, 'x', sizeof(data));
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    CHECK_INT(write_all(fd, data, sizeof(data)), 0);
    (void)close(fd);
    CHECK(pthread_create(&thread, NULL, shrink_and_grow, path) == 0);
    for (int i = 0; i < 20; i++) {
        Result sent, taken = copy_tree("shrinks", 0, "shrunk", 0, &sent);
        CHECK((sent.error == 0) == (taken.error == 0));
        CHECK(sent.error == 0 || (sent.error == EIO && taken.error == EBADMSG));
    }
    stop = true;
    CHECK(pthread_join(thread, NULL) == 0);
}

static void test_devices_are_written_to(void) {
    Result sent = {0};
    Result taken = {0};
    struct stat st;
    int fd = send_tree("D/y", 0, &sent);
    copy_in_worker(&(CopyRequest){.path = "/dev/null"}, fd, -1, &taken);
    CHECK_STR(taken.text, "");
    CHECK(stat("/dev/null", &st) == 0);
    CHECK(S_ISCHR(st.st_mode));
    (void)close(fd);
}

int main(void) {
    CHECK(mkdtemp(folder) != NULL);
    (void)umask(022);
    RUN(test_times);
    RUN(test_modes);
    RUN(test_kernels_files);
    RUN(test_left_out);
    RUN(test_unreadable);
    RUN(test_follow);
    RUN(test_contents);
    RUN(test_names);
    RUN(test_extract);
    RUN(test_cut_off);
    RUN(test_shrinking);
    RUN(test_devices_are_written_to);
    CHECK(shell("chmod -R u+rwx %s; rm -rf %1$s", folder));
    return 0;
}
