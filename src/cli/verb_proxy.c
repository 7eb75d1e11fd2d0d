/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/client_stream.h"
#include "cli/proxy_listen.h"
#include "cli/verb_rows.h"
#include "cli/vm_host.h"

/* As it was written, and then, when there is no such VM, as a host's name. */
static int open_proxy(const char *vm, const json_t *request, int *fd, Error *error) {
    _cleanup_error_ Error first = ERROR_INIT;
    _cleanup_free_ char *name = vm_host_name(vm);
    int r = client_upgrade(API_VM_PROXY, vm, request, fd, &first);
    if (r < 0 && first.kind == ERROR_NOT_FOUND && name)
        return client_upgrade(API_VM_PROXY, name, request, fd, error);
    return r < 0 ? error_move(error, &first) : r;
}

static int proxy_check(const Args *args, Error *error) {
    const char *where = args_text(args, "listen");
    struct sockaddr_in address;
    return where ? proxy_listen_parse(where, &address, error) : 0;
}

static int proxy_run(const Args *args, Error *error) {
    const char *vm = args->operands[0], *port = args->operands[1];
    ClientStream stream = CLIENT_STREAM_INIT;
    ClientStreamEnd end;
    _cleanup_json_ json_t *request = NULL;
    _cleanup_close_ int fd = -1;
    uint64_t number = 0;
    int r;
    if (args_given(args, "listen"))
        return proxy_listen(args_text(args, "listen"), vm, port,
                            args_given(args, "wait") ? args_text(args, "wait") : "0", error);
    if (parse_u64(port, UINT16_MAX, &number) < 0 || number == 0)
        return error_set(error, ERROR_USAGE, 0, "\"%s\" is no port from 1 to 65535", port);
    request = json_pack("{s:I, s:I}", "port", (json_int_t)number, "wait_s",
                        (json_int_t)args_number(args, "wait", 0));
    r = open_proxy(vm, request, &fd, error);
    if (r < 0)
        return r;
    stream.socket = fd;
    stream.in_fd = STDIN_FILENO;
    stream.out_fd = STDOUT_FILENO;
    stream.half_closes = true;
    return client_stream_run(&stream, &end, NULL, error);
}

static const VerbOption options[] = {
    {'l', "listen", ARG_TEXT, "[IP:]PORT",
     .help = "listen here, and lead each connection to the VM; port 0 is any free one"},
    {0, "wait", ARG_NUMBER, "SECONDS", .max = 3600,
     .help = "while nobody listens at PORT, try again for so long (default 0)"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"VM", ARG_VM_HOST, "name or id of a VM, or NAME.ramet", 1, 1},
    {"PORT", ARG_TEXT, "TCP port of the VM", 1, 1},
    {.name = NULL},
};

const Verb verb_proxy = {
    .name = "proxy",
    .summary = "connect to a TCP port of a VM, without a network",
    .options = options,
    .operands = operands,
    .description =
        "Leads standard input and output to a TCP connection that the VM's agent makes to PORT of "
        "127.0.0.1 in the VM, or to that of ::1 when nothing listens there. It needs no network, "
        "and no forward. Each direction ends by itself: the end of standard input is passed on, "
        "and standard output is closed when the server has said all. It ends once both have "
        "ended, and with status 1 when there is no connection or it breaks.\n"
        "\n"
        "It is made for ssh, whose settings `ramet ssh-config` prints: with --wait 10, since a "
        "clone's server takes a moment to read the keys that are its own.\n"
        "\n"
        "With --listen it is the other way round: a port of this host, of 127.0.0.1 unless IP says "
        "otherwise, whose connections lead to the VM's, any number of them, until it is "
        "interrupted. Where it listens is printed first.",
    .examples = "ssh -o 'ProxyCommand ramet proxy %n %p' root@web1\n"
                "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | ramet proxy web1 80\n"
                "ramet proxy --listen 8080 web1 80",
    .check = proxy_check,
    .run = proxy_run,
};
