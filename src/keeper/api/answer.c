/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/api/answer.h"

#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/str.h"
#include "base/utf8.h"
#include "proto/agent.h"
#include "proto/tlv.h"

/* The head says what the body will be, and that nothing follows it on this connection. `wire` is
 * filled through put() only; without memory for it the answer ends there, and the client sees a
 * body that is cut. */

static void put(Answer *answer, const void *data, size_t size) {
    if (fifo_add(&answer->wire, data, size) < 0)
        answer->ended = true;
}

static void put_head(Answer *answer, int status, const char *type, const char *framing) {
    _cleanup_free_ char *head = str_format("HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s"
                                           "Connection: close\r\n\r\n",
                                           status, status == 200 ? "OK" : "Error", type, framing);
    put(answer, head, strlen(head));
    answer->begun = true;
}

static void begin_body(Answer *answer, const char *type) {
    put_head(answer, 200, type, answer->chunked ? "Transfer-Encoding: chunked\r\n" : "");
}

static void put_chunk(Answer *answer, const void *data, size_t size) {
    char header[24];
    if (size == 0) /* it would end the body */
        return;
    if (answer->chunked)
        put(answer, header, (size_t)snprintf(header, sizeof(header), "%zx\r\n", size));
    put(answer, data, size);
    if (answer->chunked)
        put(answer, "\r\n", 2);
}

static void end_body(Answer *answer) {
    if (answer->chunked)
        put(answer, "0\r\n\r\n", 5);
    answer->ended = true;
}

void answer_send_json(Answer *answer, int http_status, const json_t *document) {
    _cleanup_free_ char *text = json_to_text(document);
    size_t size = strlen(text) + 1;
    _cleanup_free_ char *framing = str_format("Content-Length: %zu\r\n", size);
    text[size - 1] = '\n';
    put_head(answer, http_status, "application/json", framing);
    put(answer, text, size);
    answer->ended = true;
}

static void put_line(Answer *answer, const json_t *json) {
    _cleanup_free_ char *text = json_to_text(json);
    size_t size = strlen(text) + 1;
    text[size - 1] = '\n';
    if (!answer->begun)
        begin_body(answer, "application/x-ndjson");
    put_chunk(answer, text, size);
}

/* Bytes as JSON */

static json_t *base64_json(const void *data, size_t size) {
    _cleanup_free_ char *text = base64_encode(data, size);
    return json_pack("{s:s}", "base64", text);
}

/* A string of any bytes: what is no UTF-8, and NUL, is replaced. */
static json_t *replaced_json(const uint8_t *data, size_t size) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    for (size_t i = 0; i < size;) {
        size_t length = data[i] == 0 ? 0 : utf8_length((const char *)data + i, size - i);
        if (length > 0)
            strbuf_add(&text, (const char *)data + i, length);
        else
            strbuf_add_text(&text, "\xef\xbf\xbd");
        i += length > 0 ? length : 1;
    }
    return json_stringn(text.data ? text.data : "", text.size);
}

static json_t *bytes_json(AnswerText how, const void *data, size_t size) {
    switch (how) {
    case ANSWER_BASE64:
        return base64_json(data, size);
    case ANSWER_TEXT:
        return replaced_json(data, size);
    default:
        return json_from_bytes(data, size);
    }
}

static size_t character_size(uint8_t first) {
    return first >= 0xf8 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
}

/* How many bytes at the end begin a character that is not complete. */
static size_t incomplete_bytes(const uint8_t *data, size_t size) {
    for (size_t n = 1; n <= 3 && n <= size; n++)
        if ((data[size - n] & 0xc0) != 0x80)
            return character_size(data[size - n]) > n ? n : 0;
    return 0;
}

/* Documents */

/* What was cut off in front may have left the rest of a character. */
static void drop_oldest(Kept *kept, size_t size) {
    const uint8_t *bytes = fifo_front(&kept->bytes);
    for (int i = 0; i < 3 && size < fifo_size(&kept->bytes) && (bytes[size] & 0xc0) == 0x80; i++)
        size++;
    fifo_drop(&kept->bytes, size);
    kept->dropped_bytes += size;
}

static int keep(Answer *answer, Kept *kept, const uint8_t *data, size_t size) {
    size_t most = answer->keep_bytes ? answer->keep_bytes : ANSWER_KEPT_MAX;
    int r = fifo_add(&kept->bytes, data, size);
    if (r == 0 && fifo_size(&kept->bytes) > most)
        drop_oldest(kept, fifo_size(&kept->bytes) - most);
    return r;
}

static json_t *kept_json(const Kept *kept, AnswerText how) {
    size_t size = fifo_size(&kept->bytes);
    return bytes_json(how, fifo_front(&kept->bytes), size);
}

json_t *answer_document(const Answer *answer, AnswerText text, int status, bool timed_out) {
    return json_pack("{s:o, s:b, s:o, s:o, s:I, s:I}", "exit_status",
                     status < 0 ? json_null() : json_integer(status), "timed_out", timed_out,
                     "stdout", kept_json(&answer->kept[0], text), "stderr",
                     kept_json(&answer->kept[1], text), "stdout_dropped_bytes",
                     (json_int_t)answer->kept[0].dropped_bytes, "stderr_dropped_bytes",
                     (json_int_t)answer->kept[1].dropped_bytes);
}

/* Lines */

static void put_data_line(Answer *answer, bool is_error_output, const uint8_t *data, size_t size) {
    _cleanup_json_ json_t *line =
        json_pack("{s:s, s:o}", "stream", is_error_output ? "stderr" : "stdout", "data",
                  bytes_json(answer->text, data, size));
    put_line(answer, line);
}

/* A character that a piece ends in waits for its other bytes, so that text stays text. */
static int add_line(Answer *answer, bool is_error_output, const uint8_t *data, size_t size) {
    uint8_t joined[ANSWER_PIECE_MAX + 4];
    Fifo *half = &answer->half[is_error_output];
    size_t before = fifo_size(half);
    if (before > 0)
        memcpy(joined, fifo_front(half), before);
    memcpy(joined + before, data, size);
    fifo_free(half);
    size += before;
    size_t rest = answer->text == ANSWER_BASE64 ? 0 : incomplete_bytes(joined, size);
    int r = fifo_add(half, joined + size - rest, rest);
    if (r == 0 && size > rest)
        put_data_line(answer, is_error_output, joined, size - rest);
    return r;
}

static void put_halves(Answer *answer) {
    for (int i = 0; i < 2; i++) {
        size_t size = fifo_size(&answer->half[i]);
        if (size > 0)
            put_data_line(answer, i == 1, fifo_front(&answer->half[i]), size);
        fifo_free(&answer->half[i]);
    }
}

/* Files */

static int add_file(Answer *answer, const uint8_t *data, size_t size) {
    if (!answer->begun && data[0] != READ_FILE && data[0] != READ_FOLDER)
        return -EBADMSG;
    size_t first = answer->begun ? 0 : 1;
    if (!answer->begun)
        begin_body(answer,
                   data[0] == READ_FOLDER ? "application/x-tar" : "application/octet-stream");
    put_chunk(answer, data + first, size - first);
    return 0;
}

static const char *kind_of(uint64_t mode) {
    switch (mode & 0170000) {
    case 0100000:
        return "file";
    case 0040000:
        return "folder";
    case 0120000:
        return "link";
    case 0140000:
        return "socket";
    case 0010000:
        return "fifo";
    default:
        return "device";
    }
}

static int read_stat_field(json_t *stat, const TlvField *field) {
    static const char *const names[] = {[TAG_STAT_SIZE - TAG_STAT_MODE] = "size",
                                        [TAG_STAT_UID - TAG_STAT_MODE] = "uid",
                                        [TAG_STAT_GID - TAG_STAT_MODE] = "gid",
                                        [TAG_STAT_MTIME_USEC - TAG_STAT_MODE] = "mtime_us"};
    uint64_t value = 0;
    int r = field->tag == TAG_STAT_TARGET ? 0 : tlv_u64(field, &value);
    if (r < 0)
        return r;
    if (field->tag == TAG_STAT_TARGET)
        return json_object_set_new(stat, "target", json_from_bytes(field->data, field->size));
    if (field->tag != TAG_STAT_MODE)
        return json_object_set_new(stat, names[field->tag - TAG_STAT_MODE],
                                   json_integer((json_int_t)value));
    _cleanup_free_ char *mode = str_format("%04o", (unsigned)(value & 07777));
    (void)json_object_set_new(stat, "kind", json_string(kind_of(value)));
    return json_object_set_new(stat, "mode", json_string(mode));
}

static int send_stat(Answer *answer) {
    _cleanup_json_ json_t *stat = json_object();
    TlvReader reader;
    TlvField field;
    int r;
    tlv_read(&reader, fifo_front(&answer->kept[0].bytes), fifo_size(&answer->kept[0].bytes));
    while ((r = tlv_next(&reader, &field)) > 0)
        if (field.tag >= TAG_STAT_MODE && field.tag <= TAG_STAT_TARGET &&
            read_stat_field(stat, &field) < 0)
            return -EBADMSG;
    if (r < 0 || !json_object_get(stat, "kind"))
        return -EBADMSG;
    answer_send_json(answer, 200, stat);
    return 0;
}

/* All of them */

int answer_data(Answer *answer, bool is_error_output, const uint8_t *data, size_t size) {
    if (answer->ended || size == 0)
        return 0;
    switch (answer->form) {
    case ANSWER_DOCUMENT:
        return keep(answer, &answer->kept[is_error_output], data, size);
    case ANSWER_LINES:
        return add_line(answer, is_error_output, data, size);
    case ANSWER_FILE:
        return add_file(answer, data, size);
    case ANSWER_STAT:
        if (fifo_size(&answer->kept[0].bytes) + size > ANSWER_STAT_MAX)
            return -EBADMSG;
        return fifo_add(&answer->kept[0].bytes, data, size);
    default:
        return -EBADMSG;
    }
}

void answer_exit(Answer *answer, int status, bool timed_out, const json_t *more) {
    if (answer->ended)
        return;
    if (answer->form == ANSWER_LINES) {
        _cleanup_json_ json_t *line =
            json_pack("{s:i, s:b}", "exit_status", status, "timed_out", timed_out);
        put_halves(answer);
        put_line(answer, line);
        end_body(answer);
        return;
    }
    _cleanup_json_ json_t *document = answer_document(answer, answer->text, status, timed_out);
    (void)json_object_update(document, (json_t *)more);
    answer_send_json(answer, 200, document);
}

void answer_done(Answer *answer) {
    if (answer->ended)
        return;
    if (answer->form == ANSWER_FILE && answer->begun) {
        end_body(answer);
        return;
    }
    if (answer->form == ANSWER_DONE) {
        _cleanup_json_ json_t *nothing = json_object();
        answer_send_json(answer, 200, nothing);
        return;
    }
    if (answer->form == ANSWER_STAT && send_stat(answer) == 0)
        return;
    _cleanup_error_ Error error = ERROR_INIT;
    (void)error_set(&error, ERROR_CORRUPT, EBADMSG, "the agent's answer is malformed");
    answer_error(answer, &error);
}

void answer_error(Answer *answer, const Error *error) {
    _cleanup_json_ json_t *document = json_from_error(error);
    if (answer->ended)
        return;
    if (!answer->begun) {
        answer_send_json(answer, error_kind_http_status(error->kind), document);
        return;
    }
    if (answer->form == ANSWER_LINES) {
        put_halves(answer);
        put_line(answer, document);
        end_body(answer);
    }
    answer->ended = true;
}

void answer_free(Answer *answer) {
    for (int i = 0; i < 2; i++) {
        fifo_free(&answer->kept[i].bytes);
        fifo_free(&answer->half[i]);
    }
    fifo_free(&answer->wire);
}
