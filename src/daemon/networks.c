/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about networks and ports. */

#include "base/str.h"
#include "daemon/handlers.h"
#include "machine/capture.h"
#include "machine/impair.h"
#include "machine/limit.h"
#include "machine/ports.h"
#include "network/network.h"

HANDLER(handle_network_list) {
    return network_list(request->home, answer, error);
}

HANDLER(handle_network_create) {
    const NetworkOptions options = {.name = request_text(request, "name"),
                                    .subnet = request_text(request, "subnet"),
                                    .backend = request_text(request, "backend"),
                                    .isolated = request_flag(request, "isolated"),
                                    .no_uplink = request_flag(request, "no_uplink"),
                                    .allow_host = request_flag(request, "allow_host"),
                                    .taps = (unsigned)request_number(request, "taps", 0)};
    return network_create(request->home, &options, answer, error);
}

HANDLER(handle_network_inspect) {
    return network_inspect(request->home, request->argument, answer, error);
}

HANDLER(handle_network_remove) {
    (void)answer;
    return network_remove(request->home, request->argument, error);
}

HANDLER(handle_vm_port_add) {
    return vm_port_add(request->home, &request->operation, request->argument, request->input,
                       answer, error);
}

HANDLER(handle_vm_port_remove) {
    return vm_port_remove(request->home, &request->operation, request->argument,
                          request_number(request, "host_port", 0),
                          str_equal(request_text(request, "protocol"), "udp"), answer, error);
}

HANDLER(handle_vm_limit) {
    const char *text = request_text(request, "net_limit");
    return vm_limit(request->home, &request->operation, request->argument, text ? text : "", answer,
                    error);
}

/* The switch writes to the client by itself, for as long as that reads. */
HANDLER(handle_network_capture) {
    _cleanup_(network_capture_close) CaptureTarget target = CAPTURE_TARGET_INIT;
    int r = capture_find(request->home, request->argument, request_text(request, "card"), &target,
                         error);
    (void)answer;
    if (r >= 0)
        r = request_open_stream(request, NULL, error);
    return r < 0 ? r : network_capture_begin(&target, request->response.fd, error);
}

HANDLER(handle_network_impair) {
    const Impairment impairment = {.latency_usec = request_number(request, "latency_us", 0),
                                   .jitter_usec = request_number(request, "jitter_us", 0),
                                   .loss_ppm = request_number(request, "loss_ppm", 0),
                                   .rate_bps = request_number(request, "rate_bits", 0),
                                   .cut = request_flag(request, "cut")};
    return impair(request->home, &request->operation, request->argument, &impairment, answer,
                  error);
}
