/* SPDX-License-Identifier: Apache-2.0 */

/* What a hostile guest asks the switch for by DNS. */

#include "switch/outside/dns.h"
#include "switch_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Rig rig;
    uint8_t answer[DNS_ANSWER_MAX];
    DnsQuery query;
    if (!rig.loop)
        rig_init(&rig, false);
    int code = dns_read_query(&query, data, size);
    if (code < 0)
        return 0;
    size_t length = code == DNS_OK ? dns_answer(&rig.net, &query, answer, sizeof(answer)) : 0;
    if (length == 0)
        length = dns_refuse(&query, (DnsCode)code, answer, sizeof(answer));
    if (length < DNS_HEADER_SIZE || length > sizeof(answer) || !(answer[2] & 0x80))
        abort();
    return 0;
}
