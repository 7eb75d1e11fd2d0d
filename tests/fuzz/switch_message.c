/* SPDX-License-Identifier: Apache-2.0 */

/* What comes over the switch's control socket, and over the client's: read, and done but for what
 * would listen on the host. */

#include "switch/requests.h"
#include "switch_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_item(void *data, const SwitchMessage *item) {
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Rig rig;
    static uint8_t answer[SWITCH_MESSAGE_MAX];
    SwitchMessage message;
    if (size > SWITCH_MESSAGE_MAX || switch_message_read(data, size, &message, NULL) < 0)
        return 0;
    (void)switch_message_items(data, size, on_item, NULL, NULL);
    if (message.number == SWITCH_FORWARD || message.network.uplink)
        return 0;
    Request request = {.fd = -1};
    rig_init(&rig, message.number % 2 == 0);
    size_t length = request_handle(&rig.net, &request, data, size, answer, sizeof(answer));
    if (length == 0 || switch_message_read(answer, length, &message, NULL) < 0 ||
        (message.number != SWITCH_OK && message.number != SWITCH_ERROR))
        abort();
    rig_free(&rig);
    return 0;
}
