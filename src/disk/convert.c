/* SPDX-License-Identifier: Apache-2.0 */

/* The header is read first, by us: qemu-img is only started on an image that names no other file,
 * and is told the format and that there is no backing file, so that nothing in the image makes it
 * open anything. It gets both files as descriptors. `check` comes before `convert`, since QEMU
 * reads what lies behind the end of a truncated file as zeroes without a word. */

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "disk/convert.h"
#include "disk/qcow2.h"
#include "disk/vmdk.h"

#define TOOL_USEC ((uint64_t)4 * 3600 * 1000000)
#define SOURCE(driver)                                                                \
    "json:{\"driver\":\"" driver "\",\"backing\":null,\"file\":{\"driver\":\"file\"," \
    "\"filename\":\"/proc/self/fd/3\"}}"
#define TARGET_PATH "/proc/self/fd/4"
#define CHECK_ONLY_LEAKS                                                    \
    3 /* exit status of qemu-img check: clusters that nobody uses; harmless \
       */

/* What qemu-img opens, and what the kind is called. */
static const struct {
    const char *source, *name;
} kinds[] = {
    [EXTRACT_QCOW2] = {SOURCE("qcow2"), "qcow2"},
    [EXTRACT_VMDK] = {SOURCE("vmdk"), "VMDK"},
    [EXTRACT_VHDX] = {SOURCE("vhdx"), "VHDX"},
};

static int check_size(const char *name, uint64_t bytes, uint64_t max_bytes, Error *error) {
    if (bytes == 0 || bytes % 512 != 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "this %s image has %llu bytes, not a multiple of 512", name,
                         (unsigned long long)bytes);
    if (bytes > max_bytes)
        return error_set(error, ERROR_CORRUPT, EFBIG,
                         "this %s image has %llu bytes, more than the %llu allowed", name,
                         (unsigned long long)bytes, (unsigned long long)max_bytes);
    return 0;
}

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
    return check_size("qcow2", info->virtual_bytes, max_bytes, error);
}

static int run_qemu_img(char *const *argv, int fd, int output_fd, int cancel_fd,
                        SpawnOutput *output, Error *error) {
    SpawnFd fds[] = {{.from = fd, .to = 3}, {.from = output_fd, .to = 4}};
    SpawnOptions options = {
        .program = "qemu-img", .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    return spawn_run(&options, TOOL_USEC, cancel_fd, output, error);
}

static int check_image(ExtractKind kind, int fd, int cancel_fd, Error *error) {
    const char *const argv[] = {"qemu-img", "check", "-q", kinds[kind].source, NULL};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error found = ERROR_INIT;
    int r = run_qemu_img((char *const *)argv, fd, -1, cancel_fd, &output, &found);
    if (r >= 0 || (WIFEXITED(output.status) && WEXITSTATUS(output.status) == CHECK_ONLY_LEAKS))
        return 0;
    if (found.kind != ERROR_FAILED)
        return error_move(error, &found);
    return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged %s image: %s", kinds[kind].name,
                     error_message(&found));
}

static int convert(ExtractKind kind, int fd, int output_fd, int cancel_fd, Error *error) {
    const char *const argv[] = {
        "qemu-img",         "convert",          "-O",        "raw", "-n", "-S", "4k",
        "--target-is-zero", kinds[kind].source, TARGET_PATH, NULL};
    _cleanup_error_ Error found = ERROR_INIT;
    int r = run_qemu_img((char *const *)argv, fd, output_fd, cancel_fd, NULL, &found);
    if (r >= 0)
        return 0;
    if (strstr(error_message(&found), strerror(ENOSPC)))
        return error_set(error, ERROR_NO_SPACE, ENOSPC, "%s", error_message(&found));
    if (found.kind != ERROR_FAILED)
        return error_move(error, &found);
    return error_set(error, ERROR_CORRUPT, EBADMSG, "cannot read the %s image: %s",
                     kinds[kind].name, error_message(&found));
}

static int read_qcow2_size(int fd, uint64_t max_bytes, uint64_t *bytes, Error *error) {
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    int r = qcow2_read_info(fd, &info, error);
    if (r >= 0)
        r = check_header(&info, max_bytes, error);
    if (r >= 0)
        *bytes = info.virtual_bytes;
    return r;
}

/* As qemu-img tells it. */
static int ask_size(ExtractKind kind, int fd, int cancel_fd, uint64_t max_bytes, uint64_t *bytes,
                    Error *error) {
    const char *const argv[] = {"qemu-img", "info", "--output=json", kinds[kind].source, NULL};
    _cleanup_(spawn_output_free) SpawnOutput output = {0};
    _cleanup_error_ Error found = ERROR_INIT;
    _cleanup_json_ json_t *info = NULL;
    int r = run_qemu_img((char *const *)argv, fd, -1, cancel_fd, &output, &found);
    if (r < 0 && found.kind != ERROR_FAILED)
        return error_move(error, &found);
    if (r < 0)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "damaged %s image: %s", kinds[kind].name,
                         error_message(&found));
    info = json_loadb(output.out, output.out_size, 0, NULL);
    *bytes = (uint64_t)json_integer_value(json_object_get(info, "virtual-size"));
    return check_size(kinds[kind].name, *bytes, max_bytes, error);
}

static int require_qemu_img(const char *name, Error *error) {
    _cleanup_free_ char *program = path_find_program("qemu-img");
    if (program)
        return 0;
    error_set(error, ERROR_UNSUPPORTED, ENOENT,
              "%s images are read by qemu-img, which is not installed", name);
    error_set_hint(error, "install qemu-utils");
    return -ENOENT;
}

static int read_size(ExtractKind kind, int fd, int cancel_fd, uint64_t max_bytes, uint64_t *bytes,
                     Error *error) {
    int r = 0;
    if (kind == EXTRACT_QCOW2)
        r = read_qcow2_size(fd, max_bytes, bytes, error);
    if (kind == EXTRACT_VMDK)
        r = vmdk_check(fd, error);
    if (r >= 0)
        r = require_qemu_img(kinds[kind].name, error);
    if (r >= 0 && kind != EXTRACT_QCOW2)
        r = ask_size(kind, fd, cancel_fd, max_bytes, bytes, error);
    return r;
}

int convert_image(ExtractKind kind, int fd, int output_fd, uint64_t max_bytes, int cancel_fd,
                  Error *error) {
    uint64_t bytes = 0;
    int r = read_size(kind, fd, cancel_fd, max_bytes, &bytes, error);
    if (r < 0)
        return r;
    if (ftruncate(output_fd, (off_t)bytes) < 0)
        return error_set_errno(error, errno, "cannot set the size of the disk");
    r = check_image(kind, fd, cancel_fd, error);
    return r < 0 ? r : convert(kind, fd, output_fd, cancel_fd, error);
}
