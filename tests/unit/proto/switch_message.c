/* SPDX-License-Identifier: Apache-2.0 */

/* Messages to and from a ramet-switch: what is written is read again, and nothing else is. */

#include "proto/switch_message.h"

#include <errno.h>

#include "check.h"
#include "proto/tlv.h"

#define ALL                                                                              \
    (SWITCH_PART_NETWORK | SWITCH_PART_PORT | SWITCH_PART_FORWARD | SWITCH_PART_IMPAIR | \
     SWITCH_PART_COUNTERS | SWITCH_PART_LIMIT | SWITCH_PART_PLAIN)

static uint8_t buffer[SWITCH_MESSAGE_MAX];

static const SwitchMessage full = {
    .number = SWITCH_PORT,
    .network = {.name = "net",
                .subnet = {10, 1, 0, 0},
                .prefix = 24,
                .gateway = {10, 1, 0, 1},
                .subnet6 = {0xfd, 1},
                .prefix6 = 64,
                .gateway6 = {0xfd, 1, [15] = 1},
                .gateway_mac = {2, 0, 0, 0, 0, 1},
                .mtu = 1400,
                .isolated = true,
                .uplink = true,
                .allow_host = true,
                .resolvers = {[10] = 0xff, 0xff, 9, 9, 9, 9}},
    .port = {.id = "abc/0",
             .name = "web",
             .mac = {2, 1},
             .guest_mac = {2, 2},
             .ip = {10, 1, 0, 5},
             .ip6 = {0xfd, 1, [15] = 5},
             .router = true,
             .connected = true,
             .serial = 7},
    .forward = {.id = "abc/0",
                .udp = true,
                .host_ip = {127, 0, 0, 1},
                .host_port = 8080,
                .guest_port = 80},
    .impair = {.out = {1, 2, 3, 4, true}, .in = {5, 4, 3, 2, true}},
    .limit = {1000000, 2000000, 5000, SWITCH_CONNECTIONS_MAX},
    .counters = {1, 2, 3, 4, {[SWITCH_DROP_RUNT] = 5, [SWITCH_DROP_CONNECTIONS] = 6}},
    .id = "abc/1",
    .version = 1,
    .pid = 2,
    .after = 3,
    .capture = 4,
    .captured = 5,
    .lost = 6,
    .discard = true,
    .held = true,
    .ramet = "0.1",
    .code = "conflict",
    .message = "no",
    .hint = "try",
    .errnum = 17,
};

static void test_round_trip(void) {
    SwitchMessage read;
    int size = switch_message_write(&full, ALL, buffer, sizeof(buffer));
    CHECK(size > 0);
    CHECK_INT(switch_message_read(buffer, (size_t)size, &read, NULL), 0);
    CHECK(memcmp(&read, &full, sizeof(read)) == 0);
}

static void test_only_the_parts_named(void) {
    SwitchMessage read;
    int size = switch_message_write(&full, SWITCH_PART_PORT, buffer, sizeof(buffer));
    CHECK_INT(switch_message_read(buffer, (size_t)size, &read, NULL), 0);
    CHECK_STR(read.port.name, "web");
    CHECK_STR(read.network.name, "");
    CHECK_STR(read.id, "");
    CHECK_INT(read.counters.sent_frames, 0);
}

static void test_cut_off_anywhere(void) {
    SwitchMessage read;
    int size = switch_message_write(&full, ALL, buffer, sizeof(buffer));
    for (int cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc((size_t)cut + 1);
        memcpy(copy, buffer, (size_t)cut);
        int r = switch_message_read(copy, (size_t)cut, &read, NULL);
        CHECK(r == 0 || r == -EINVAL);
        free(copy);
    }
    CHECK_INT(switch_message_read(buffer, 3, &read, NULL), -EINVAL);
    CHECK_INT(switch_message_read(buffer, (size_t)size - 1, &read, NULL), -EINVAL);
}

/* One field after the header. */
static size_t one_field(uint16_t tag, const void *data, size_t size) {
    TlvWriter writer;
    memset(buffer, 0, 4);
    buffer[0] = SWITCH_PORT;
    tlv_start(&writer, buffer + 4, sizeof(buffer) - 4);
    tlv_add(&writer, tag, data, size);
    return 4 + writer.size;
}

static void refused(uint16_t tag, const void *data, size_t size, const char *why) {
    SwitchMessage read = {.number = 99};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(switch_message_read(buffer, one_field(tag, data, size), &read, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error.message, why);
    CHECK_INT(read.number, 99);
}

static void test_hostile_fields(void) {
    char text[200];
    memset(text, 'a', sizeof(text));
    refused(40, text, sizeof(text), "too long");
    refused(40, "a\nb", 3, "not printable");
    refused(40, "a\0b", 3, "not printable");
    refused(42, text, 5, "another size");
    refused(42, text, 7, "another size");
    refused(22, "\x21\0\0\0\0\0\0\0", 8, "within its bounds"); /* a prefix of 33 */
    refused(22, "\x20\0\0\0", 4, "within its bounds");
    refused(29, "\x02\0\0\0\0\0\0\0", 8, "within its bounds"); /* a boolean of 2 */
    refused(96, "\x02", 1, "no number");
}

static void test_unknown_fields_are_passed_over(void) {
    SwitchMessage read;
    CHECK_INT(switch_message_read(buffer, one_field(60000, "x", 1), &read, NULL), 0);
    CHECK_INT(read.number, SWITCH_PORT);
}

static int count_item(void *data, const SwitchMessage *item) {
    CHECK_STR(item->port.id, "abc/0");
    CHECK_INT(item->counters.drops[SWITCH_DROP_CONNECTIONS], 6);
    return ++*(int *)data == 5 ? -ECANCELED : 0;
}

static void test_items(void) {
    SwitchMessage answer = {.number = SWITCH_OK};
    int size = switch_message_write(&answer, 0, buffer, sizeof(buffer)), n = 0, count = 0, next;
    while ((next = switch_message_add_item(buffer, (size_t)size, sizeof(buffer), &full,
                                           SWITCH_PART_PORT | SWITCH_PART_COUNTERS)) > 0) {
        size = next;
        n++;
    }
    CHECK_INT(next, -EMSGSIZE);
    CHECK(n > 50);
    CHECK_INT(switch_message_read(buffer, (size_t)size, &answer, NULL), 0);
    CHECK_INT(switch_message_items(buffer, (size_t)size, count_item, &count, NULL), -ECANCELED);
    CHECK_INT(count, 5);
    count = 10;
    CHECK_INT(switch_message_items(buffer, (size_t)size, count_item, &count, NULL), 0);
    CHECK_INT(count, n + 10);
}

static void test_each_drop_has_a_name(void) {
    for (int i = 0; i < SWITCH_DROP_COUNT; i++)
        CHECK(switch_drop_names[i] != NULL);
}

int main(void) {
    RUN(test_round_trip);
    RUN(test_only_the_parts_named);
    RUN(test_cut_off_anywhere);
    RUN(test_hostile_fields);
    RUN(test_unknown_fields_are_passed_over);
    RUN(test_items);
    RUN(test_each_drop_has_a_name);
    return 0;
}
