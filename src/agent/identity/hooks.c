/* SPDX-License-Identifier: Apache-2.0 */
/* All of this runs in a worker, never in the agent itself: programs of the guest are slow. Each
 * gets HOOK_LIMIT_USEC; after that its whole process group is killed and it counts as failed. */

#include "agent/identity/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HOOK_LIMIT_USEC 30000000u
#define SSH_KEYS "/etc/ssh/ssh_host_*_key"
#define SSH_KEY "/etc/ssh/ssh_host_ed25519_key"
#define SSH_LINE 70 /* characters, as ssh-keygen writes them */

static const char *const hook_env[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root",
    NULL};

static int spawn_program(char *const *argv, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int r = posix_spawn(pid, argv[0], &actions, &attributes, argv, (char *const *)hook_env);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return -r;
}

/* Waits for the end without polling where the kernel can (Linux 5.3). */
static bool wait_bounded(pid_t pid, int *status) {
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (fd >= 0 && poll(&wait, 1, (int)(HOOK_LIMIT_USEC / 1000)) == 0) {
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, status, 0);
        return false;
    }
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return true;
}

static int run_program(char *const *argv, Result *result) {
    int status = 0;
    pid_t pid;
    int r = spawn_program(argv, &pid);
    if (r < 0)
        return result_fail(result, -r, "cannot run %s", argv[0]);
    if (!wait_bounded(pid, &status))
        return result_say(result, ETIMEDOUT, "%s did not end within %u s", argv[0],
                          HOOK_LIMIT_USEC / 1000000u);
    if (status != 0)
        return result_say(result, EIO, "%s failed with status %d", argv[0],
                          WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    return 0;
}

static int glob_any(const char *pattern, glob_t *found) {
    *found = (glob_t){0};
    return glob(pattern, 0, NULL, found) == 0 && found->gl_pathc > 0;
}

/* Every clone asks, and nearly all images have none: glob(3) alone takes an emulated guest that has
 * just been restored some 60 ms. */
bool hooks_exist(void) {
    glob_t found;
    if (access(HOOKS_FOLDER, F_OK) < 0)
        return false;
    bool any = glob_any(HOOKS_FOLDER "/*", &found);
    globfree(&found);
    return any;
}

int hooks_run(Result *result) {
    glob_t found;
    int r = 0;
    if (!glob_any(HOOKS_FOLDER "/*", &found))
        return 0;
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
        char *argv[] = {found.gl_pathv[i], NULL};
        struct stat file;
        if (stat(argv[0], &file) == 0 && S_ISREG(file.st_mode) && file.st_mode & 0111)
            r = run_program(argv, result);
    }
    globfree(&found);
    return r;
}

bool hooks_have_ssh_server(void) {
    return access("/usr/sbin/sshd", F_OK) == 0 || access("/etc/ssh/sshd_config", F_OK) == 0;
}

bool hooks_have_ssh_keys(void) {
    glob_t found;
    if (access("/etc/ssh", F_OK) < 0)
        return false;
    if (hooks_have_ssh_server())
        return true;
    bool any = glob_any(SSH_KEYS, &found);
    globfree(&found);
    return any;
}

/* sshd reads its keys again on SIGHUP; its first process has its pid here. */
static void reload_sshd(void) {
    char text[16];
    long pid;
    if (read_text("/run/sshd.pid", text, sizeof(text)) <= 0)
        return;
    pid = strtol(text, NULL, 10);
    if (pid > 1 && pid <= INT32_MAX)
        (void)kill((pid_t)pid, SIGHUP);
}

static void remove_ssh_keys(void) {
    glob_t found;
    if (glob_any(SSH_KEYS "*", &found)) /* the public halves too */
        for (size_t i = 0; i < found.gl_pathc; i++)
            (void)unlink(found.gl_pathv[i]);
    globfree(&found);
}

/* True when a line of it names host keys of other types. sshd_config(5): keywords in any case. */
static bool insists_on_others(const char *path) {
    FILE *file = fopen(path, "re");
    char line[1024];
    bool others = false;
    while (file && !others && fgets(line, sizeof(line), file)) {
        const char *word = line + strspn(line, " \t");
        others = strncasecmp(word, "HostKey", 7) == 0 && strchr(" \t=", word[7]) &&
                 !strstr(word, SSH_KEY);
    }
    if (file)
        (void)fclose(file);
    return others;
}

static bool must_be_others(void) {
    bool others = insists_on_others("/etc/ssh/sshd_config");
    glob_t found;
    if (glob_any("/etc/ssh/sshd_config.d/*.conf", &found))
        for (size_t i = 0; !others && i < found.gl_pathc; i++)
            others = insists_on_others(found.gl_pathv[i]);
    globfree(&found);
    return others;
}

static void wrap_key(const char *key, char *text, size_t room) {
    size_t used = 0;
    used += (size_t)snprintf(text, room, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (size_t i = 0; i < strlen(key) && used < room; i += SSH_LINE)
        used += (size_t)snprintf(text + used, room - used, "%.*s\n", SSH_LINE, key + i);
    if (used < room)
        (void)snprintf(text + used, room - used, "-----END OPENSSH PRIVATE KEY-----\n");
}

static int write_ssh_keys(const char *key, const char *public_key, Result *result) {
    char text[1024], line[256];
    wrap_key(key, text, sizeof(text));
    (void)snprintf(line, sizeof(line), "%s\n", public_key);
    int r = write_text(SSH_KEY, text, 0600);
    if (r == 0)
        r = write_text(SSH_KEY ".pub", line, 0644);
    return r < 0 && r != -EROFS ? result_fail(result, -r, "cannot write " SSH_KEY) : r;
}

static int make_ssh_keys(Result *result) {
    char program[] = "/usr/bin/ssh-keygen", all[] = "-A";
    char *argv[] = {program, all, NULL};
    return access(program, X_OK) < 0 ? 0 : run_program(argv, result);
}

int hooks_renew_ssh_keys(const char *key, const char *public_key, Result *result) {
    if (!hooks_have_ssh_keys())
        return 0;
    bool given = key[0] != '\0';
    remove_ssh_keys();
    int r = given ? write_ssh_keys(key, public_key, result) : 0;
    result->ssh_key = given && r == 0;
    if (r == 0 && (!given || must_be_others())) /* those that are not there */
        r = make_ssh_keys(result);
    if (r == 0)
        reload_sshd();
    return r == -EROFS ? 0 : r;
}
