/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/paths.h"

#include <unistd.h>

#include "base/str.h"
#include "check.h"

static void set(const char *home, const char *socket, const char *data, const char *runtime) {
    CHECK_INT(home ? setenv("RAMET_HOME", home, 1) : unsetenv("RAMET_HOME"), 0);
    CHECK_INT(socket ? setenv("RAMET_SOCKET", socket, 1) : unsetenv("RAMET_SOCKET"), 0);
    CHECK_INT(data ? setenv("XDG_DATA_HOME", data, 1) : unsetenv("XDG_DATA_HOME"), 0);
    CHECK_INT(runtime ? setenv("XDG_RUNTIME_DIR", runtime, 1) : unsetenv("XDG_RUNTIME_DIR"), 0);
}

static void expect(const char *home, const char *socket) {
    _cleanup_free_ char *found_home = NULL, *found_socket = NULL;
    CHECK_INT(paths_home(&found_home, NULL), 0);
    CHECK_INT(paths_socket(&found_socket, NULL), 0);
    CHECK_STR(found_home, home);
    CHECK_STR(found_socket, socket);
}

static void test_given(void) {
    set("/h", NULL, NULL, "/run/user/1");
    expect("/h", "/h/ramet.sock");
    set("/h", "/s", NULL, NULL);
    expect("/h", "/s");
}

static void test_relative(void) {
    CHECK_INT(chdir("/tmp"), 0);
    set("h", "s/t", NULL, NULL);
    expect("/tmp/h", "/tmp/s/t");
}

static void test_root(void) {
    if (geteuid() != 0)
        return;
    set(NULL, "", "/data", "/run/user/0");
    expect("/var/lib/ramet", "/run/ramet/ramet.sock");
}

static void test_user(void) {
    if (geteuid() == 0 && seteuid(65534) < 0)
        return;
    set(NULL, NULL, "/data", "/run/user/1");
    expect("/data/ramet", "/run/user/1/ramet/ramet.sock");
    CHECK_INT(setenv("HOME", "/home/u", 1), 0);
    set(NULL, NULL, "not/absolute", NULL);
    expect("/home/u/.local/share/ramet", "/home/u/.local/share/ramet/ramet.sock");
    CHECK_INT(unsetenv("HOME"), 0);
    CHECK(paths_home(&(char *){NULL}, NULL) < 0);
    CHECK(seteuid(getuid()) == 0); /* the leak checker needs it */
}

int main(void) {
    RUN(test_given);
    RUN(test_relative);
    RUN(test_root);
    RUN(test_user);
    return 0;
}
