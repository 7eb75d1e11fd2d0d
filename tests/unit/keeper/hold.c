/* SPDX-License-Identifier: Apache-2.0 */
/* The real memory holder: hold KEEPER. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "check.h"
#include "proto/holder.h"

static const char *keeper_path;
static char folder[64];
static int folder_fd;

static int make_base(const char *text, bool sealed) {
    int fd = memfd_create("base", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    CHECK_INT(fd_write_full(fd, text, strlen(text)), 0);
    if (sealed)
        CHECK_INT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

static void begin(void) {
    strcpy(folder, "/tmp/ramet-test-XXXXXX");
    CHECK(mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(folder_fd >= 0);
}

static void end(void) {
    CHECK_INT(path_remove_tree(folder), 0);
    fd_close(folder_fd);
}

static int put(const char *key, const char *text, bool sealed, Error *error) {
    _cleanup_close_ int fd = make_base(text, sealed);
    return holder_put(folder_fd, key, fd, error);
}

static const char *key_at(const json_t *list, size_t index) {
    return json_string_value(json_object_get(json_array_get(list, index), "key"));
}

static void holds(void) {
    begin();
    _cleanup_json_ json_t *list = NULL;
    _cleanup_close_ int fd = -1;
    char text[8] = "";
    CHECK_INT(holder_get(folder_fd, "a", &fd, NULL), -ENOENT);
    CHECK_INT(holder_ensure(folder_fd, keeper_path, NULL), 0);
    CHECK_INT(holder_ensure(folder_fd, keeper_path, NULL), 0);
    CHECK_INT(put("a", "first", true, NULL), 0);
    CHECK_INT(put("b", "second", true, NULL), 0);
    CHECK_INT(holder_get(folder_fd, "a", &fd, NULL), 0);
    CHECK_INT(pread(fd, text, sizeof text, 0), 5);
    CHECK_STR(text, "first");
    CHECK_INT(holder_list(folder_fd, &list, NULL), 0);
    CHECK_INT(json_array_size(list), 2);
    CHECK_STR(key_at(list, 0), "b");
    CHECK_STR(key_at(list, 1), "a");
    CHECK_INT(holder_drop(folder_fd, "b", NULL), 0);
    CHECK_INT(holder_drop(folder_fd, "b", NULL), 0);
    int none = -1;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(holder_get(folder_fd, "b", &none, &error) < 0);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    CHECK_INT(none, -1);
    CHECK_INT(holder_quit(folder_fd, NULL), 0);
    end();
}

static void refuses(void) {
    begin();
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(holder_ensure(folder_fd, keeper_path, NULL), 0);
    CHECK(put("open", "x", false, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_INT(put("same", "x", true, NULL), 0);
    CHECK(put("same", "y", true, &error) < 0);
    CHECK_INT(error.kind, ERROR_CONFLICT);
    CHECK(put("no/key", "y", true, NULL) < 0);
    CHECK_INT(holder_quit(folder_fd, NULL), 0);
    CHECK_INT(holder_quit(folder_fd, NULL), 0);
    end();
}

/* With its home it goes, too: here it is seen on its end of a connection that it never serves. */
static void ends_with_its_home(void) {
    begin();
    CHECK_INT(holder_ensure(folder_fd, keeper_path, NULL), 0);
    CHECK_INT(put("a", "x", true, NULL), 0);
    int sock = fd_unix_connect_at(folder_fd, HOLDER_SOCKET_NAME, SOCK_SEQPACKET);
    CHECK(sock >= 0);
    CHECK_INT(path_remove_tree(folder), 0);
    struct pollfd item = {.fd = sock, .events = POLLIN};
    CHECK_INT(poll(&item, 1, 60000), 1);
    CHECK(item.revents & POLLHUP);
    fd_close(sock);
    fd_close(folder_fd);
}

int main(int argc, char **argv) {
    CHECK_INT(argc, 2);
    keeper_path = argv[1];
    RUN(holds);
    RUN(refuses);
    RUN(ends_with_its_home);
    return 0;
}
