/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "home/inside.h"
#include "image/image.h"
#include "run/hand_over.h"

/* ---- a new VM ---- */

static void take_words(StrList *from, StrList *to) {
    strlist_free(to);
    *to = *from;
    *from = (StrList){0};
}

static void take_text(char **from, char **to) {
    if (!*to)
        *to = TAKE_PTR(*from);
}

/* Is the program of the image's own making, so that it runs by itself? An init is not run: it is
 * what the guest boots into. */
static bool image_has_program(const ImageRow *image) {
    const char *init = json_string_value(json_object_get(image->detail, "init"));
    const json_t *config = json_object_get(image->detail, "config");
    return json_is_object(config) && (str_equal(init, image_init_name(IMAGE_INIT_AGENT)) ||
                                      json_is_true(json_object_get(config, "beside_init")));
}

/* Is it run just as the image says? */
static bool is_unchanged(const VmSpec *spec) {
    return !spec->own_command && !spec->own_entrypoint && !spec->config.user &&
           !spec->config.directory && spec->env.count == 0;
}

void program_resolve(const ImageRow *image, VmSpec *spec) {
    _cleanup_image_config_ ImageConfig of_image = {0};
    ImageConfig *config = &spec->config;
    bool has = image_has_program(image);
    image_config_from_json(json_object_get(image->detail, "config"), &of_image);
    if (spec->weak_command && (!has || of_image.ready) && !spec->own_entrypoint) {
        /* It is a command on the stream, and so are its user and folder, which came with it. */
        strlist_free(&config->command);
        free(TAKE_PTR(config->user));
        free(TAKE_PTR(config->directory));
        spec->own_command = false;
    }
    spec->warm = of_image.ready && is_unchanged(spec);
    if (!spec->own_command && !spec->own_entrypoint)
        take_words(&of_image.command, &config->command);
    if (!spec->own_entrypoint)
        take_words(&of_image.entrypoint, &config->entrypoint);
    take_words(&of_image.env, &config->env);
    take_words(&of_image.ports, &config->ports);
    take_text(&of_image.directory, &config->directory);
    take_text(&of_image.user, &config->user);
    config->stop_signal = of_image.stop_signal;
    json_replace(&config->labels, TAKE_PTR(of_image.labels));
    take_text(&of_image.ready, &config->ready);
    config->ready_timeout_s = of_image.ready_timeout_s;
    config->beside_init = of_image.beside_init;
    spec->agent_is_init = has && !of_image.beside_init;
    spec->has_program = (has || spec->own_entrypoint || spec->own_command) &&
                        config->entrypoint.count + config->command.count > 0 &&
                        (!spec->runs_line || spec->warm);
}

static bool is_published(const PortForwards *forwards, unsigned port, bool udp) {
    for (size_t i = 0; i < forwards->count; i++)
        if (forwards->items[i].guest_port == port && forwards->items[i].udp == udp)
            return true;
    return false;
}

void program_publish(VmSpec *spec) {
    PortForwards *forwards = &spec->forwards;
    if (!spec->publish_all || !vm_spec_forward_card(spec))
        return;
    for (size_t i = 0; i < spec->config.ports.count; i++) {
        const char *text = spec->config.ports.items[i];
        unsigned long port = strtoul(text, NULL, 10);
        bool udp = str_has_suffix(text, "/udp");
        if (port == 0 || port > UINT16_MAX || forwards->count == ARRAY_SIZE(forwards->items) ||
            is_published(forwards, (unsigned)port, udp))
            continue;
        PortForward *forward = &forwards->items[forwards->count++];
        *forward = (PortForward){.guest_port = (uint16_t)port, .udp = udp};
        str_set(forward->host_ip, "127.0.0.1");
    }
}

/* ---- running it ---- */

bool program_runs(const VmRow *row) {
    const char *boot = row->runtime.boot;
    return str_equal(boot, "restored") ||
           (row->spec.warm && (str_equal(boot, "forked") || str_equal(boot, "claimed")));
}

int program_start(Home *home, const VmRow *row, Error *error) {
    return program_runs(row) ? 0 : program_start_anew(home, row, error);
}

int program_start_anew(Home *home, const VmRow *row, Error *error) {
    _cleanup_json_ json_t *request = NULL;
    int r;
    if (!row->spec.has_program)
        return 0;
    request = json_pack("{s:o, s:b, s:b}", "argv", image_config_argv(&row->spec.config), "program",
                        1, "console", 1);
    r = vm_ask_keeper_of(home, row, "exec_detached", request, NULL, 0, NULL, error);
    return r < 0 ? error_add_context(error, "the program of %s", row->name) : 0;
}

static int find(Home *home, const json_t *vm, VmRow *row, Error *error) {
    return vms_find(home->store, str_or_empty(json_string_value(json_object_get(vm, "id"))), row,
                    error);
}

int program_start_in(Home *home, const json_t *vm, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    int r = find(home, vm, &row, error);
    return r < 0 ? r : program_start(home, &row, error);
}

int program_attach(Home *home, const json_t *vm, json_t *exec, Error *error) {
    _cleanup_vm_row_ VmRow row = {0};
    bool has_own = json_array_size(json_object_get(exec, "argv")) > 0;
    int r = find(home, vm, &row, error);
    if (r < 0)
        return r;
    if (row.spec.warm && has_own) /* a command beside the program */
        return program_start(home, &row, error);
    if (row.spec.has_program && program_runs(&row)) {
        error_set(error, ERROR_CONFLICT, EBUSY, "the program of %s runs already", row.name);
        error_set_hint(error, "its output is on the console: ramet logs -f %s", row.name);
        return -EBUSY;
    }
    if (row.spec.has_program) {
        (void)json_object_set_new(exec, "argv", image_config_argv(&row.spec.config));
        (void)json_object_set_new(exec, "program", json_true());
        return 0;
    }
    if (has_own)
        return 0;
    error_set(error, ERROR_USAGE, EINVAL, "image %s has no program of its own", row.image);
    error_set_hint(error, "name a command: ramet run %s -- CMD", row.image);
    return -EINVAL;
}
