/* SPDX-License-Identifier: Apache-2.0 */

/* The header is read first, by us: qemu-img is only started on an image that names no other file,
 * and is told the format, so that nothing in the image makes it open anything. It gets both files
 * as descriptors. `check` comes before `convert`, since QEMU reads what lies behind the end of a
 * truncated file as zeroes without a word. */

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "disk/convert.h"
#include "disk/qcow2.h"

#define TOOL_USEC ((uint64_t)4 * 3600 * 1000000)
#define SOURCE_PATH "/proc/self/fd/3"
#define TARGET_PATH "/proc/self/fd/4"
#define CHECK_ONLY_LEAKS                                                    \
    3 /* exit status of qemu-img check: clusters that nobody uses; harmless \
       */

static int check_header(const Qcow2Info *info, uint64_t max_bytes, Error *error) {
    const char *why = info->backing_path                       ? "names a backing file"
                      : info->has_data_file || info->data_file ? "keeps its data in another file"
                      : info->encrypted                        ? "is encrypted"
                                                               : NULL;
    if (why) {
        error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this qcow2 image %s", why);
        error_set_hint(
            error, "make a whole one of it where it comes from: qemu-img convert -O qcow2 OLD NEW");
        return -ENOTSUP;
    }
    if (info->corrupt)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "this qcow2 image is marked as corrupt");
    if (info->virtual_bytes == 0 || info->virtual_bytes % 512 != 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "this qcow2 image has %llu bytes, not a multiple of 512",
                         (unsigned long long)info->virtual_bytes);
    if (info->virtual_bytes > max_bytes)
        return error_set(error, ERROR_CORRUPT, EFBIG,
                         "this qcow2 image has %llu bytes, more than the %llu allowed",
                         (unsigned long long)info->virtual_bytes, (unsigned long long)max_bytes);
    return 0;
}

static int run_qemu_img(char *const *argv, int fd, int output_fd, int cancel_fd,
                        SpawnOutput *output, Error *error) {
    SpawnFd fds[] = {{.from = fd, .to = 3}, {.from = output_fd, .to = 4}};
    SpawnOptions options = {
        .program = "qemu-img", .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    return spawn_run(&options, TOOL_USEC, cancel_fd, output, error);
}

static int check_image(int fd, int cancel_fd, Error *error) {
    static const char *const ARGV[] = {"qemu-img", "check", "-q", "-f", "qcow2", SOURCE_PATH, NULL};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error found = ERROR_INIT;
    int r = run_qemu_img((char *const *)ARGV, fd, -1, cancel_fd, &output, &found);
    if (r >= 0 || (WIFEXITED(output.status) && WEXITSTATUS(output.status) == CHECK_ONLY_LEAKS))
        return 0;
    if (found.kind != ERROR_FAILED)
        return error_move(error, &found);
    return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged qcow2 image: %s",
                     error_message(&found));
}

static int convert_image(int fd, int output_fd, int cancel_fd, Error *error) {
    static const char *const ARGV[] = {
        "qemu-img",         "convert", "-f", "qcow2",     "-O",        "raw", "-n",
        "--target-is-zero", "-S",      "4k", SOURCE_PATH, TARGET_PATH, NULL};
    _cleanup_error_ Error found = ERROR_INIT;
    int r = run_qemu_img((char *const *)ARGV, fd, output_fd, cancel_fd, NULL, &found);
    if (r >= 0)
        return 0;
    if (strstr(error_message(&found), strerror(ENOSPC)))
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "%s", error_message(&found));
    if (found.kind != ERROR_FAILED)
        return error_move(error, &found);
    return error_set(error, ERROR_CORRUPT, EBADMSG, "cannot read the qcow2 image: %s",
                     error_message(&found));
}

int convert_qcow2(int fd, int output_fd, uint64_t max_bytes, int cancel_fd, Error *error) {
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    _cleanup_free_ char *program = path_find_program("qemu-img");
    int r;
    r = qcow2_read_info(fd, &info, error);
    if (r >= 0)
        r = check_header(&info, max_bytes, error);
    if (r < 0)
        return r;
    if (!program) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT,
                  "qcow2 images are read by qemu-img, which is not installed");
        error_set_hint(error, "install qemu-utils");
        return -ENOENT;
    }
    if (ftruncate(output_fd, (off_t)info.virtual_bytes) < 0)
        return error_set_errno(error, errno, "cannot set the size of the disk");
    r = check_image(fd, cancel_fd, error);
    return r < 0 ? r : convert_image(fd, output_fd, cancel_fd, error);
}
