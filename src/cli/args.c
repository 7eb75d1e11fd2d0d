/* SPDX-License-Identifier: Apache-2.0 */
/* The parser. Words fill the verb's operands in order; an ARG_COMMAND operand takes the rest as it
 * is, from the first word that is neither an option nor needed by an operand before it, or from
 * "--". Each value is checked where it is met. */

#include "cli/args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "cli/arg_time.h"
#include "cli/suggest.h"
#include "cli/vm_host.h"

typedef struct Parser {
    Args *args;
    char **next;  /* the word to look at */
    bool no_more; /* "--" was met */
    Error *error;
} Parser;

static int usage_error(Parser *parser, const char *format, ...) PRINTF_LIKE(2, 3);

static int usage_error(Parser *parser, const char *format, ...) {
    _cleanup_free_ char *message = NULL;
    va_list list;
    va_start(list, format);
    message = str_format_va(format, list);
    va_end(list);
    error_set(parser->error, ERROR_USAGE, EINVAL, "%s: %s", parser->args->verb->name, message);
    error_set_hint(parser->error, "see ramet %s --help", parser->args->verb->name);
    return -EINVAL;
}

/* Takes the advice, which may be NULL. */
static int no_such_option(Parser *parser, char *advice, const char *format, ...) PRINTF_LIKE(3, 4);

static int no_such_option(Parser *parser, char *advice, const char *format, ...) {
    _cleanup_free_ char *option = NULL, *hint = advice;
    va_list list;
    va_start(list, format);
    option = str_format_va(format, list);
    va_end(list);
    (void)usage_error(parser, "no such option %s", option);
    if (hint)
        error_set_hint(parser->error, "%s (see ramet %s --help)", hint, parser->args->verb->name);
    return -EINVAL;
}

static bool env_is_valid(const char *text) {
    size_t n = strcspn(text, "=");
    return n > 0;
}

/* A name, or a digest: tree1:HEX, sha256:HEX or HEX. */
static int check_image(const char *text, Error *error) {
    if (strstr(text, "://") || strstr(text, ":/"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "that is where an image comes from; ramet image pull %s makes one of it "
                         "and prints its name",
                         text);
    if (str_has_prefix(text, "tree1:") || str_has_prefix(text, "sha256:"))
        text = strchr(text, ':') + 1;
    if (strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64)
        return 0;
    return name_check("image", text, error);
}

const char *copy_path_colon(const char *text) {
    const char *colon = strchr(text, ':'), *slash = strchr(text, '/');
    _cleanup_free_ char *name = colon ? str_format("%.*s", (int)(colon - text), text) : NULL;
    bool fits = colon && (!slash || slash > colon || name_check_existing("VM", name, NULL) == 0);
    return fits ? colon : NULL;
}

static int check_copy_path(const char *text, Error *error) {
    const char *colon = copy_path_colon(text);
    _cleanup_free_ char *name = colon ? str_format("%.*s", (int)(colon - text), text) : NULL;
    if (!text[0])
        return error_set(error, ERROR_USAGE, EINVAL, "an empty path");
    return name ? name_check_existing("VM", name, error) : 0;
}

static int check_recipe(const char *text, Error *error) {
    size_t n = strcspn(text, ":");
    _cleanup_free_ char *name = str_format("%.*s", (int)n, text);
    int r = name_check("recipe", name, error);
    return r == 0 && text[n] ? name_check("suite", text + n + 1, error) : r;
}

static int check_number(const char *text, uint64_t min, uint64_t max, Error *error) {
    uint64_t value;
    if (parse_u64(text, max ? max : UINT64_MAX, &value) == 0 && value >= min)
        return 0;
    if (!max && min)
        return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no number from %llu on", text,
                         (unsigned long long)min);
    if (!max)
        return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no number", text);
    return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no number from %llu to %llu", text,
                     (unsigned long long)min, (unsigned long long)max);
}

/* `-m 512` is meant as 512M, and `--disk 4` as 4G: nobody wants so few bytes. */
static int check_size(const char *text, uint64_t least, uint64_t most, Error *error) {
    uint64_t bytes;
    if (parse_size(text, &bytes) < 0)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "\"%s\" is no size (bytes, or such as 512M or 4G)", text);
    if (most && bytes > most) {
        _cleanup_free_ char *size = format_size(most);
        return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is more than %s", text, size);
    }
    if (bytes >= least)
        return 0;
    if (text[strspn(text, "0123456789")] == '\0')
        return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is %s bytes; did you mean %s%s?", text,
                         text, text, bytes < 64 ? "G" : "M");
    return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is too small (such as 512M or 4G)", text);
}

static int check_duration(const char *text, uint64_t most_msec, Error *error) {
    uint64_t usec;
    int r = duration_parse(text, &usec, error);
    if (r < 0 || !most_msec || usec / USEC_PER_MSEC <= most_msec)
        return r;
    return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is more than %llud", text,
                     (unsigned long long)(most_msec / 86400000));
}

static int check_vm_host(const char *text, Error *error) {
    _cleanup_free_ char *name = vm_host_name(text);
    return name_check_existing("VM", name ? name : text, error);
}

/* Its options are checked where it is known what the network has. */
static int check_network(const char *text, Error *error) {
    _cleanup_free_ char *name = str_format("%.*s", (int)strcspn(text, ","), text);
    return name_check_existing("network", name, error);
}

static int check_pair(const char *text, const char *what, Error *error) {
    return env_is_valid(text)
               ? 0
               : error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is no K=V for %s", text, what);
}

/* The rest of it is the daemon's to check: that knows what paths there can be. */
static int check_seed(ArgKind kind, const char *text, Error *error) {
    const char *colon = strstr(text, ":/");
    if (kind == ARG_SEED)
        return strchr(text, ':') ? 0 : name_check("seed", text, error);
    if (colon && colon != text)
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" has no place: it is NAME:PATH", text);
}

static int check_filter(const char *text, Error *error) {
    if (env_is_valid(text) && strchr(text, '='))
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL,
                     "\"%s\" is no KEY=VALUE, such as label=role or state=running", text);
}

static int check_text(ArgKind kind, const char *text, Error *error) {
    if (text[0] || kind == ARG_TEXT_OR_EMPTY)
        return 0;
    return error_set(error, ERROR_USAGE, EINVAL, "it is empty");
}

static int check_value(ArgKind kind, const VerbOption *option, const char *text, Error *error) {
    switch (kind) {
    case ARG_NUMBER:
        return check_number(text, option ? option->min : 0, option ? option->max : 0, error);
    case ARG_SIZE:
        return check_size(text, option ? option->min : 0, option ? option->max : 0, error);
    case ARG_DURATION:
        return check_duration(text, option ? option->max : 0, error);
    case ARG_TIME:
        return time_parse(text, NULL, error);
    case ARG_NAME:
    case ARG_VOLUME:
    case ARG_POOL_SOURCE:
        return name_check("name", text, error);
    case ARG_VM:
        return name_check_existing("VM", text, error);
    case ARG_VM_HOST:
        return check_vm_host(text, error);
    case ARG_SNAPSHOT:
    case ARG_LAB_SNAPSHOT:
        return name_check("snapshot", text, error);
    case ARG_LAB:
    case ARG_LAB_SOURCE:
        return name_check("lab", text, error);
    case ARG_FORK_SOURCE:
        return name_check_existing("name", text, error);
    case ARG_IMAGE:
        return check_image(text, error);
    case ARG_SEED:
    case ARG_SEED_PLACE:
    case ARG_VOLUME_PLACE:
        return check_seed(kind, text, error);
    case ARG_RECIPE:
        return check_recipe(text, error);
    case ARG_COPY_PATH:
        return check_copy_path(text, error);
    case ARG_NETWORK_NAME:
        return name_check_existing("network", text, error);
    case ARG_NETWORK:
        return check_network(text, error);
    case ARG_VM_PATTERN:
        return text[0] && text[strcspn(text, "*?[")] ? 0 : name_check_existing("VM", text, error);
    case ARG_LABEL:
        return check_pair(text, "a label", error);
    case ARG_FILTER:
        return check_filter(text, error);
    case ARG_FORWARD:
        return forward_parse(text, NULL, error);
    case ARG_ENV:
        return check_pair(text, "the environment", error);
    case ARG_CHOICE:
        return word_is_in(option->choices, text, strlen(text))
                   ? 0
                   : error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is none of %s", text,
                               option->choices);
    default:
        return check_text(kind, text, error);
    }
}

static int check_or_explain(Parser *parser, const char *what, ArgKind kind,
                            const VerbOption *option, const char *text) {
    _cleanup_error_ Error reason = ERROR_INIT;

    if (check_value(kind, option, text, &reason) == 0)
        return 0;
    return usage_error(parser, "%s: %s", what, error_message(&reason));
}

typedef struct OptionSearch {
    const char *name; /* NULL: by letter */
    size_t length;
    char letter;
    const VerbOption *found;
} OptionSearch;

static void match_option(void *data, const VerbOption *option) {
    OptionSearch *search = data;
    if (search->name ? word_is_in(option->name, search->name, search->length) ||
                           word_is_in(option->aliases, search->name, search->length)
                     : option->letter == search->letter)
        search->found = option;
}

static int add_value(Parser *parser, const VerbOption *option, const char *text) {
    Args *args = parser->args;
    _cleanup_free_ char *what = str_format("--%s", option->name);
    int r = text ? check_or_explain(parser, what, option->kind, option, text) : 0;
    if (r < 0)
        return r;
    if (!option->many && text && args_given(args, option->name))
        return usage_error(parser, "%s was given twice", what);
    if (option == &verb_json_option)
        args->json = true;
    if (option == &verb_common_options[0])
        args->help = true;
    args->values[args->n_values++] = (ArgValue){option, text};
    return 0;
}

static int parse_long(Parser *parser) {
    const char *word = *parser->next++ + 2;
    OptionSearch search = {.name = word, .length = strcspn(word, "=")};
    const char *text = word[search.length] ? word + search.length + 1 : NULL;
    verb_each_option(parser->args->verb, match_option, &search);
    if (!search.found)
        return no_such_option(parser, suggest_option(parser->args->verb, word, search.length),
                              "--%.*s", (int)search.length, word);
    if (search.found->kind == ARG_FLAG) {
        if (text)
            return usage_error(parser, "--%s takes no value", search.found->name);
    } else if (!text && !(text = *parser->next)) {
        return usage_error(parser, "--%s wants a value", search.found->name);
    } else if (text == *parser->next) {
        parser->next++;
    }
    return add_value(parser, search.found, text);
}

/* A word of letters: -it, -p8080:80, -e K=V. */
static int parse_letters(Parser *parser) {
    const char *word = *parser->next++ + 1;
    for (; *word; word++) {
        OptionSearch search = {.letter = *word};
        const char *text;
        int r;
        verb_each_option(parser->args->verb, match_option, &search);
        if (!search.found)
            return no_such_option(parser, suggest_letter(parser->args->verb, *word), "-%c", *word);
        if (search.found->kind == ARG_FLAG) {
            r = add_value(parser, search.found, NULL);
            if (r < 0)
                return r;
            continue;
        }
        text = word[1] ? word + 1 : *parser->next ? *parser->next++ : NULL;
        if (!text)
            return usage_error(parser, "-%c wants a value", *word);
        return add_value(parser, search.found, text);
    }
    return 0;
}

/* The operand that the next word would be: the n-th place counted over all of them. */
static const VerbOperand *operand_at(const Verb *verb, size_t n) {
    for (const VerbOperand *operand = verb->operands; operand && operand->name; operand++) {
        if (operand->kind == ARG_COMMAND || n < operand->max)
            return operand;
        n -= operand->max;
    }
    return NULL;
}

static bool at_command(const Parser *parser) {
    const VerbOperand *operand = operand_at(parser->args->verb, parser->args->n_operands);
    return operand && operand->kind == ARG_COMMAND;
}

static void parse_command(Parser *parser) {
    Args *args = parser->args;
    args->command = parser->next;
    while (*parser->next) {
        parser->next++;
        args->n_command++;
    }
}

static int parse_operand(Parser *parser) {
    Args *args = parser->args;
    const VerbOperand *operand = operand_at(args->verb, args->n_operands);
    const char *word = *parser->next++;
    int r;
    if (!operand)
        return usage_error(parser, "\"%s\" is one word too many", word);
    r = check_or_explain(parser, operand->name, operand->kind, NULL, word);
    if (r == 0)
        args->operands[args->n_operands++] = word;
    return r;
}

static int parse_next(Parser *parser) {
    const char *word = *parser->next;
    if (!parser->no_more && strcmp(word, "--") == 0) {
        parser->no_more = true;
        parser->next++;
        return 0;
    }
    if (!parser->no_more && word[0] == '-' && word[1])
        return word[1] == '-' ? parse_long(parser) : parse_letters(parser);
    if (!at_command(parser))
        return parse_operand(parser);
    parse_command(parser);
    return 0;
}

static int check_complete(Parser *parser) {
    Args *args = parser->args;
    size_t n = args->n_operands;
    if (args->json && args->verb->flags & VERB_FORMAT && args_text(args, "format"))
        return usage_error(parser, "--json and --format are two different outputs");

    for (const VerbOperand *operand = args->verb->operands; operand && operand->name; operand++) {
        size_t have = operand->kind == ARG_COMMAND ? args->n_command : MIN_OF(n, operand->max);
        if (have < operand->min)
            return usage_error(parser, "%s is missing", operand->name);
        n -= operand->kind == ARG_COMMAND ? 0 : have;
    }
    for (const VerbOption *option = args->verb->options; option && option->name; option++)
        if (option->required && !args_given(args, option->name))
            return usage_error(parser, "--%s is missing", option->name);
    return 0;
}

int args_parse(const Verb *verb, char **argv, Args *args, Error *error) {
    Args parsed = {.verb = verb};
    Parser parser = {.args = &parsed, .next = argv, .error = error};
    size_t letters = 1;
    int r = 0;
    for (char **word = argv; *word; word++)
        letters += strlen(*word) + 1;
    parsed.values = calloc(letters, sizeof(*parsed.values));
    parsed.operands = calloc(letters, sizeof(*parsed.operands));
    if (!parsed.values || !parsed.operands)
        abort();
    while (r == 0 && *parser.next && !parsed.help)
        r = parse_next(&parser);
    if (r == 0 && !parsed.help)
        r = check_complete(&parser);
    if (r < 0)
        args_free(&parsed);
    else
        *args = parsed;
    return r;
}

void args_free(Args *args) {
    free(args->values);
    free(args->operands);
    *args = (Args){0};
}

const char *args_nth(const Args *args, const char *name, size_t n) {
    for (size_t i = 0; i < args->n_values; i++)
        if (strcmp(args->values[i].option->name, name) == 0 && n-- == 0)
            return args->values[i].text;
    return NULL;
}

bool args_time(const Args *args, const char *name, uint64_t *realtime_usec) {
    const char *text = args_text(args, name);
    return text && time_parse(text, realtime_usec, NULL) == 0;
}

bool args_given(const Args *args, const char *name) {
    for (size_t i = 0; i < args->n_values; i++)
        if (strcmp(args->values[i].option->name, name) == 0)
            return true;
    return false;
}

bool args_flag(const Args *args, const char *name) {
    return args_given(args, name);
}

const char *args_text(const Args *args, const char *name) {
    return args_nth(args, name, 0);
}

uint64_t args_number(const Args *args, const char *name, uint64_t otherwise) {
    const char *text = args_text(args, name);
    uint64_t value = otherwise;
    /* both were checked by the parser; a plain number is a size as well, but for 0 */
    if (text && parse_u64(text, UINT64_MAX, &value) < 0)
        (void)parse_size(text, &value);
    return value;
}

json_t *args_labels(const Args *args, const char *name) {
    json_t *labels = json_object();
    const char *text;
    for (size_t i = 0; (text = args_nth(args, name, i)); i++) {
        size_t n = strcspn(text, "=");
        _cleanup_free_ char *key = str_format("%.*s", (int)n, text);
        json_object_set_new(labels, key, json_string(text[n] ? text + n + 1 : ""));
    }
    return labels;
}

json_t *args_env(const Args *args, const char *name) {
    json_t *list = json_array();
    const char *text;
    for (size_t i = 0; (text = args_nth(args, name, i)); i++) {
        const char *value = strchr(text, '=') ? NULL : getenv(text);
        _cleanup_free_ char *pair = value ? str_format("%s=%s", text, value) : NULL;
        if (value || strchr(text, '='))
            json_array_append_new(list, json_string(pair ? pair : text));
    }
    return list;
}

static int parse_port(const char *text, size_t size, uint64_t min, uint64_t *port) {
    _cleanup_free_ char *digits = str_format("%.*s", (int)size, text);
    int r = parse_u64(digits, 65535, port);
    return r == 0 && *port < min ? -ERANGE : r;
}

int forward_parse(const char *text, json_t **forward, Error *error) {
    size_t size = strcspn(text, "/");
    const char *protocol = text[size] ? text + size + 1 : "tcp";
    const char *guest = memrchr(text, ':', size);
    const char *host = guest ? memrchr(text, ':', (size_t)(guest - text)) : NULL;
    _cleanup_free_ char *ip =
        host ? str_format("%.*s", (int)(host - text), text) : str_copy("127.0.0.1");
    struct in_addr address;
    uint64_t host_port, guest_port;
    host = host ? host + 1 : text;
    if (!guest || parse_port(host, (size_t)(guest - host), 0, &host_port) < 0 ||
        parse_port(guest + 1, size - (size_t)(guest + 1 - text), 1, &guest_port) < 0 ||
        inet_pton(AF_INET, ip, &address) != 1 ||
        (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0))
        return error_set(error, ERROR_USAGE, EINVAL, "\"%s\" is not [IP:]HOST:GUEST[/udp]", text);
    if (forward)
        *forward =
            json_pack("{s:s, s:I, s:I, s:s}", "host_ip", ip, "host_port", (json_int_t)host_port,
                      "guest_port", (json_int_t)guest_port, "protocol", protocol);
    return 0;
}
