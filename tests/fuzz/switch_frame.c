/* SPDX-License-Identifier: Apache-2.0 */

/* What a hostile guest sends on its card: the first byte says by which port, and whether the
 * source's MAC is put right so that the rest is looked at. After each input no buffer may be left
 * behind. */

#include "switch/ports/limit.h"
#include "switch_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_all(const Rig *rig) {
    uint8_t frame[FRAME_MAX];
    for (unsigned i = 0; i < 2; i++)
        while (recv(rig->ends[i], frame, sizeof(frame), MSG_DONTWAIT) >= 0)
            ;
}

static void check_buffers(const Rig *rig) {
    for (size_t i = 0; i < 3; i++)
        if (rig->net.pool.held[i] != 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Rig rigs[2];
    bool apart = size > 0 && data[0] & 8;
    Rig *rig = &rigs[apart];
    if (!rig->loop)
        rig_init(rig, apart);
    if (size < 1 || size > 1 + FRAME_MAX)
        return 0;
    Port *port = rig->net.ports[1 + (data[0] & 1)];
    Buffer *buffer = buffer_take(&rig->net.pool, port->slot);
    if (!buffer)
        abort();
    buffer->size = (uint16_t)(size - 1);
    memcpy(buffer->data, data + 1, size - 1);
    if (data[0] & 2 && size > 12)
        memcpy(buffer->data + 6, port->lease.guest_mac, 6);
    port->broadcast_credit = 1000000;
    if (data[0] & 4) {
        Packet packet;
        uint8_t frame[FRAME_MAX];
        memcpy(frame, buffer->data, buffer->size);
        limit_set(port, &(SwitchLimit){.connections = 1 + (data[0] >> 4)});
        if (packet_parse(&packet, frame, buffer->size) == DROP_NONE &&
            packet.ethertype != ETHERTYPE_ARP) {
            (void)limit_admit(port, &packet);
            limit_note(port, &packet);
        }
    }
    ingress_receive(port, buffer);
    ports_flush(&rig->net);
    take_all(rig);
    check_buffers(rig);
    return 0;
}
