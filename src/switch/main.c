/* SPDX-License-Identifier: Apache-2.0 */

/* ramet-switch --listen-fd N [--user UID]: the switch of one network, told what to do over the
 * socket that N listens on (proto/switch.h). It lives on when who started it ends. */

#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "switch/control.h"
#include "switch/network.h"
#include "switch/sandbox.h"

#define RESOLV_CONF_MAX 65536

typedef struct Arguments {
    int listen_fd;
    uid_t uid;
} Arguments;

static bool parse_number(const char *text, uint64_t max, uint64_t *number) {
    return parse_u64(text, max, number) == 0;
}

static int parse_arguments(int argc, char **argv, Arguments *arguments) {
    uint64_t fd, uid = 0;
    if (argc == 2 && str_equal(argv[1], "--version")) {
        puts("ramet-switch " RAMET_VERSION);
        exit(0);
    }
    bool fine = argc >= 3 && str_equal(argv[1], "--listen-fd") &&
                parse_number(argv[2], 1 << 22, &fd) &&
                (argc == 3 || (argc == 5 && str_equal(argv[3], "--user") &&
                               parse_number(argv[4], UINT32_MAX - 1, &uid)));
    if (!fine) {
        fprintf(stderr, "usage: ramet-switch --listen-fd NUMBER [--user UID]\n"
                        "Started by rametd; not meant to be started by hand.\n");
        return 2;
    }
    *arguments = (Arguments){.listen_fd = (int)fd, .uid = (uid_t)uid};
    return 0;
}

/* Each connection of a guest to the outside takes a descriptor. */
static void raise_fd_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = MIN_OF(limit.rlim_max, (rlim_t)65536);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void ignore_signals(void) {
    static const int ignored[] = {SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
}

/* The pages of program and libraries that the start needed, and nothing needs again, are let go:
 * most of what a switch had resident. Those that are needed come back from the page cache. */
static int forget_pages(struct dl_phdr_info *object, size_t size, void *data) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = (object->dlpi_addr + segment->p_vaddr) & ~page;
        uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz + page) & ~page;
        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
            (void)madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

static Switch net; /* large, and there is one */

static int serve(Loop *loop, const Arguments *arguments, Error *error) {
    Control *control = NULL;
    int r = control_new(&net, arguments->listen_fd, &control, error);
    if (r == 0)
        r = sandbox_enter(arguments->uid, arguments->uid, error);
    if (r == 0) {
        (void)dl_iterate_phdr(forget_pages, NULL);
        r = loop_run(loop);
    }
    control_free(control);
    return r;
}

static int run(const Arguments *arguments, Error *error) {
    _cleanup_(loop_free_p) Loop *loop = NULL;
    _cleanup_free_ char *resolv_conf = NULL;
    int r = loop_new(&loop);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make an event loop");
    (void)fd_read_file_at(AT_FDCWD, "/etc/resolv.conf", RESOLV_CONF_MAX, &resolv_conf, NULL);
    r = network_init(&net, loop, resolv_conf, error);
    if (r == 0)
        r = serve(loop, arguments, error);
    network_free(&net);
    return r;
}

int main(int argc, char **argv) {
    Arguments arguments;
    if (fd_open_standard() < 0)
        return 1;
    int r = parse_arguments(argc, argv, &arguments);
    if (r > 0)
        return r;
    log_init("ramet-switch", LOG_LEVEL_INFO);
    raise_fd_limit();
    ignore_signals();
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    _cleanup_error_ Error error = ERROR_INIT;
    r = run(&arguments, &error);
    if (r < 0)
        log_error("%s", error.message ? error.message : strerror(-r));
    return r < 0;
}
