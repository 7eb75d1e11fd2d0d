/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual I/O Device (VIRTIO) Version 1.1: 4.2.4 (legacy MMIO registers), 2.6.2 (legacy layout of a
 * queue), 5.3 (console), 5.2 (block). QEMU's microvm has its devices from 0xfeb00000 on, 512 bytes
 * each.
 *
 * The agent's port is found as Linux finds it: the device is told that the driver is ready, names
 * its ports one after the other, each is acknowledged, and the one with the agent's name is opened.
 */

#include <string.h>

#include "bare.h"
#include "proto/agent.h"

#define MMIO_FIRST 0xfeb00000u
#define MMIO_STEP 512u
#define MMIO_DEVICES 24u

enum {
    MAGIC = 0,
    VERSION = 4,
    DEVICE = 8,
    DRIVER_FEATURES = 0x20,
    DRIVER_FEATURES_SELECT = 0x24,
    PAGE_SIZE = 0x28,
    QUEUE_SELECT = 0x30,
    QUEUE_ROOM = 0x34,
    QUEUE_SIZE = 0x38,
    QUEUE_ALIGN = 0x3c,
    QUEUE_PAGE = 0x40,
    QUEUE_NOTIFY = 0x50,
    STATUS = 0x70
};
enum { STATUS_FOUND = 1, STATUS_DRIVER = 2, STATUS_OK = 4 };
enum { DEVICE_BLOCK = 2, DEVICE_CONSOLE = 3, FEATURE_PORTS = 1 << 1 };

#define SLOTS 16u
#define WRITABLE 2u
#define NEXT 1u
#define PAGE 4096u

typedef struct Descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
} Descriptor;

typedef struct Queue {
    struct {
        Descriptor descriptors[SLOTS];
        struct {
            uint16_t flags, index, ring[SLOTS];
        } offered;
    } __attribute__((aligned(PAGE))) ours;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, size;
        } ring[SLOTS];
    } __attribute__((aligned(PAGE))) theirs;
    uintptr_t device;
    uint32_t number;
    uint16_t seen;
} Queue;

static Queue control_in, control_out, port_in, port_out, disk;
static uint8_t control_buffers[SLOTS][64], port_buffers[SLOTS][PAGE];
static int port_slot = -1; /* whose bytes the caller has now */

/* ---- queues ---- */

static void barrier(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void queue_begin(Queue *queue, uintptr_t device, uint32_t number) {
    queue->device = device;
    queue->number = number;
    queue->ours.offered.flags = 1; /* no interrupts */
    mmio_write(device + QUEUE_SELECT, number);
    if (mmio_read(device + QUEUE_ROOM) < SLOTS)
        give_up("a queue has too little room");
    mmio_write(device + QUEUE_SIZE, SLOTS);
    mmio_write(device + QUEUE_ALIGN, PAGE);
    mmio_write(device + QUEUE_PAGE, (uint32_t)((uintptr_t)queue / PAGE));
}

static void queue_offer(Queue *queue, uint16_t slot) {
    queue->ours.offered.ring[queue->ours.offered.index % SLOTS] = slot;
    barrier();
    queue->ours.offered.index++;
    barrier();
    mmio_write(queue->device + QUEUE_NOTIFY, queue->number);
}

/* The slot that the device is done with, or -1. */
static int queue_take(Queue *queue, uint32_t *size) {
    if (*(volatile uint16_t *)&queue->theirs.index == queue->seen)
        return -1;
    barrier();
    uint32_t place = queue->seen++ % SLOTS;

    *size = queue->theirs.ring[place].size;
    return (int)(queue->theirs.ring[place].id % SLOTS);
}

static void queue_give_buffers(Queue *queue, void *buffers, uint32_t size) {
    for (uint16_t i = 0; i < SLOTS; i++) {
        queue->ours.descriptors[i] = (Descriptor){
            .address = (uintptr_t)buffers + (uintptr_t)size * i, .size = size, .flags = WRITABLE};
        queue_offer(queue, i);
    }
}

static void queue_wait(Queue *queue) {
    uint32_t size;
    while (queue_take(queue, &size) < 0)
        __asm__ volatile("pause");
}

static void queue_send(Queue *queue, const void *data, size_t size) {
    queue->ours.descriptors[0] = (Descriptor){.address = (uintptr_t)data, .size = (uint32_t)size};
    queue_offer(queue, 0);
    queue_wait(queue);
}

/* ---- devices ---- */

static void device_begin(uintptr_t device, uint32_t features) {
    mmio_write(device + STATUS, 0);
    mmio_write(device + STATUS, STATUS_FOUND | STATUS_DRIVER);
    mmio_write(device + DRIVER_FEATURES_SELECT, 0);
    mmio_write(device + DRIVER_FEATURES, features);
    mmio_write(device + PAGE_SIZE, PAGE);
}

static uintptr_t device_find(uint32_t kind) {
    for (uint32_t i = 0; i < MMIO_DEVICES; i++) {
        uintptr_t device = MMIO_FIRST + MMIO_STEP * i;
        if (mmio_read(device + MAGIC) != 0x74726976 || mmio_read(device + DEVICE) != kind)
            continue;
        if (mmio_read(device + VERSION) != 1)
            give_up("a virtio device is not of version 1");
        return device;
    }
    return 0;
}

/* ---- the console ---- */

typedef struct Control {
    uint32_t port;
    uint16_t event, value;
} Control;

enum {
    CONTROL_DRIVER_READY = 0,
    CONTROL_PORT_ADD = 1,
    CONTROL_PORT_READY = 3,
    CONTROL_OPEN = 6,
    CONTROL_NAME = 7
};

static void control_send(uint32_t port, uint16_t event) {
    static Control message;
    message = (Control){.port = port, .event = event, .value = 1};
    queue_send(&control_out, &message, sizeof(message));
}

static bool is_agents(const uint8_t *name, uint32_t size) {
    return size >= strlen(AGENT_CHANNEL_NAME) &&
           memcmp(name, AGENT_CHANNEL_NAME, strlen(AGENT_CHANNEL_NAME)) == 0;
}

/* 0, or the number of the agent's port. */
static uint32_t control_take(const uint8_t *bytes, uint32_t size) {
    Control message;
    memcpy(&message, bytes, sizeof(message));
    if (message.event == CONTROL_PORT_ADD)
        control_send(message.port, CONTROL_PORT_READY);
    if (message.event == CONTROL_NAME && size > sizeof(message) &&
        is_agents(bytes + sizeof(message), size - (uint32_t)sizeof(message)))
        return message.port;
    return 0;
}

static uint32_t wait_for_port(void) {
    uint32_t port = 0, size = 0;
    while (port == 0) {
        int slot = queue_take(&control_in, &size);
        if (slot < 0)
            continue;
        if (size >= sizeof(Control))
            port = control_take(control_buffers[slot], size);
        queue_offer(&control_in, (uint16_t)slot);
    }
    return port;
}

/* 5.3.2: queues 2 and 3 are for control, and each port but the first has a pair behind them. */
static void console_begin(void) {
    uintptr_t device = device_find(DEVICE_CONSOLE);
    if (!device)
        give_up("there is no virtio console");
    device_begin(device, FEATURE_PORTS);
    queue_begin(&control_in, device, 2);
    queue_begin(&control_out, device, 3);
    mmio_write(device + STATUS, STATUS_FOUND | STATUS_DRIVER | STATUS_OK);
    queue_give_buffers(&control_in, control_buffers, sizeof(control_buffers[0]));
    control_send(UINT32_MAX, CONTROL_DRIVER_READY);
    uint32_t port = wait_for_port();

    queue_begin(&port_in, device, 2 + 2 * port);
    queue_begin(&port_out, device, 3 + 2 * port);
    queue_give_buffers(&port_in, port_buffers, PAGE);
    control_send(port, CONTROL_OPEN);
}

void port_write(const void *data, size_t size) {
    queue_send(&port_out, data, size);
}

size_t port_read(const uint8_t **data) {
    uint32_t size = 0;
    if (port_slot >= 0)
        queue_offer(&port_in, (uint16_t)port_slot);
    port_slot = queue_take(&port_in, &size);
    if (port_slot < 0)
        return 0;
    *data = port_buffers[port_slot];
    return size < PAGE ? size : PAGE;
}

/* ---- the disk ---- */

bool disk_transfer(bool write, uint64_t sector, void *data) {
    static struct {
        uint32_t kind, reserved;
        uint64_t sector;
    } header;
    static uint8_t status;
    Descriptor *chain = disk.ours.descriptors;

    if (!disk.device)
        return false;
    header.kind = write;
    header.sector = sector;
    status = 0xff;
    chain[0] = (Descriptor){(uintptr_t)&header, sizeof(header), NEXT, 1};
    chain[1] = (Descriptor){(uintptr_t)data, 512, write ? NEXT : NEXT | WRITABLE, 2};
    chain[2] = (Descriptor){(uintptr_t)&status, 1, WRITABLE, 0};
    queue_offer(&disk, 0);
    queue_wait(&disk);
    return *(volatile uint8_t *)&status == 0;
}

static void disk_begin(void) {
    uintptr_t device = device_find(DEVICE_BLOCK);
    if (!device)
        return;
    device_begin(device, 0);
    queue_begin(&disk, device, 0);
    mmio_write(device + STATUS, STATUS_FOUND | STATUS_DRIVER | STATUS_OK);
}

void virtio_begin(void) {
    disk_begin();
    console_begin();
}
