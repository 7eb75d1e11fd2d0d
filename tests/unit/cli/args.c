/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines against what becomes of them: "option=value … | operands | command", or an error.
 */
#include "cli/args.h"

#include "base/clock.h"
#include "check.h"
#include "cli/arg_time.h"
#include "cli/suggest.h"
#include "cli/unknown_verb.h"
#include "cli/verbs.h"

#define WORDS_MAX 16

/* Cuts at spaces; the words live in `line`. */
static void split(char *line, char *words[WORDS_MAX]) {
    size_t n = 0;
    for (char *word = strtok(line, " "); word && n < WORDS_MAX - 1; word = strtok(NULL, " "))
        words[n++] = word;
    words[n] = NULL;
}

static char *describe(const Args *args) {
    StrBuf text = {0};
    for (size_t i = 0; i < args->n_values; i++)
        strbuf_add_format(&text, "%s%s%s ", args->values[i].option->name,
                          args->values[i].text ? "=" : "",
                          args->values[i].text ? args->values[i].text : "");
    strbuf_add_text(&text, "|");
    for (size_t i = 0; i < args->n_operands; i++)
        strbuf_add_format(&text, " %s", args->operands[i]);
    strbuf_add_text(&text, " |");
    for (size_t i = 0; i < args->n_command; i++)
        strbuf_add_format(&text, " %s", args->command[i]);
    return strbuf_steal(&text);
}

static const struct {
    const char *verb;
    const char *line;
    const char *expected; /* a part of the message when it begins with '!' */
} cases[] = {
    {"run", "busybox", "| busybox |"},
    {"run", "busybox -- echo -n hi", "| busybox | echo -n hi"},
    {"run", "busybox echo --rm", "| busybox | echo --rm"},
    {"run", "busybox --rm -- ls", "rm | busybox | ls"},
    {"run", "--rm -it --memory 512M busybox sh", "rm interactive tty memory=512M | busybox | sh"},
    {"run", "--memory=1G -p8080:80 -p 53:53/udp busybox",
     "memory=1G publish=8080:80 publish=53:53/udp | busybox |"},
    {"run", "-e A=1 -e HOME busybox", "env=A=1 env=HOME | busybox |"},
    {"run", "-- busybox ls", "| busybox | ls"},
    {"run", "--network none busybox", "network=none | busybox |"},
    {"run", "sha256:0123456789012345678901234567890123456789012345678901234567890123",
     "| sha256:0123456789012345678901234567890123456789012345678901234567890123 |"},
    {"run", "", "!IMAGE is missing"},
    {"run", "--name a/b busybox", "!--name"},
    {"run", "--name Upper busybox", "!--name"},
    {"run", "../busybox", "!IMAGE"},
    {"run", "--memory 12parsecs busybox", "!no size"},
    {"run", "--memory 0 busybox", "!no size"},
    {"run", "--memory 1G --memory 2G busybox", "!given twice"},
    {"run", "-m 512 busybox", "!\"512\" is 512 bytes; did you mean 512M?"},
    {"run", "--disk 4 busybox", "!\"4\" is 4 bytes; did you mean 4G?"},
    {"run", "--memory 3K busybox", "!too small"},
    {"run", "-m 5T busybox", "!--memory: \"5T\" is more than 4 TiB"},
    {"run", "--disk 9000T busybox", "!--disk: \"9000T\" is more than 1024 TiB"},
    {"run", "--cpus 9999999999 busybox",
     "!--cpus: \"9999999999\" is no number from 1 to 2147483647"},
    {"run", "--ttl 3651d busybox", "!--ttl: \"3651d\" is more than 3650d"},
    {"fork", "--idle-standby 3650d a", "idle-standby=3650d | a |"},
    {"run", "-m 536870912 busybox", "memory=536870912 | busybox |"},
    {"run", "--mem 512M --net none busybox", "memory=512M network=none | busybox |"},
    {"fork", "--disk 10 web1", "!did you mean 10G?"},
    {"images", "", "| |"},
    {"image list", "", "| |"},
    {"ls", "-a", "all | |"},
    {"delete", "-f web1", "force | web1 |"},
    {"logs", "-f --since 1h30m web1 web*", "follow since=1h30m | web1 web* |"},
    {"logs", "--since 2026-11-20T17:33:17+01:00 a", "since=2026-11-20T17:33:17+01:00 | a |"},
    {"logs", "--since yesterday a", "!an age such as 10m or 1h30m, or RFC 3339"},
    {"logs", "--since 2026-02-30T00:00:00Z a", "!RFC 3339"},
    {"logs", "--since -5m a", "!no time"},
    {"logs", "", "!VM is missing"},
    {"snapshot list", "", "| |"},
    {"run", "-l a=b --label c -w /x -u 1:1 --hostname h busybox",
     "label=a=b label=c workdir=/x user=1:1 hostname=h | busybox |"},
    {"run", "--label =b busybox", "!no K=V for a label"},
    {"rm", "-f ci-* a", "force | ci-* a |"},
    {"rm", "Bad", "!VM"},
    {"ps", "-f label=a --format {name}", "filter=label=a format={name} | |"},
    {"ps", "--filter label", "!no KEY=VALUE"},
    {"ps", "--json --format x", "!two different outputs"},
    {"rename", "a b", "| a b |"},
    {"rename", "a B", "!NEW"},
    {"run", "--memory", "!wants a value"},
    {"run", "--cpus 0 busybox", "!from 1 to"},
    {"run", "--cpus 1x busybox", "!from 1 to"},
    {"run", "--network ../lan,ip=1 busybox", "!network"},
    {"run", "--network lan,ip=10.1.0.9 --net user busybox",
     "network=lan,ip=10.1.0.9 network=user | busybox |"},
    {"run", "-p 99999:1 busybox", "!HOST:GUEST"},
    {"run", "-e =x busybox", "!environment"},
    {"run", "--rm=yes busybox", "!takes no value"},
    {"run", "--nosuch busybox", "!no such option --nosuch"},
    {"run", "-x busybox", "!no such option -x"},
    {"exec", "web1 -- ls -l", "| web1 | ls -l"},
    {"exec", "web1 ls -l", "| web1 | ls -l"},
    {"exec", "-it -u 1:2 web1 sh", "interactive tty user=1:2 | web1 | sh"},
    {"exec", "web1 -i sh", "interactive | web1 | sh"},
    {"exec", "web1", "!CMD is missing"},
    {"exec", "Web/1 true", "!VM"},
    {"cp", "a web1:/b", "| a web1:/b |"},
    {"cp", "lab/vm:/a b", "| lab/vm:/a b |"},
    {"cp", "a/B:c Lab/vm:/b", "| a/B:c Lab/vm:/b |"}, /* paths here */
    {"exec", "lab/vm id", "| lab/vm | id"},
    {"exec", "lab/a/b id", "!VM"},
    {"cp", "./a:b web1:", "| ./a:b web1: |"},
    {"cp", "a", "!DESTINATION is missing"},
    {"cp", "Bad:/a b", "!SOURCE"},
    {"rm", "-f a b c", "force | a b c |"},
    {"rm", "", "!VM is missing"},
    {"ps", "-aq --json", "all quiet json | |"},
    {"ps", "x", "!one word too many"},
    {"image build", "web --from debian:bookworm --include a,b",
     "from=debian:bookworm include=a,b | web |"},
    {"image build", "web -f r.yaml", "file=r.yaml | web |"},
    {"image build", "web --from ../x", "!--from"},
    {"image import", "- --name web", "name=web | - |"},
    {"stop", "-t 5 web1", "time=5 | web1 |"},
    {"stop", "--help and anything", "help | |"},
};

static void test_lines(void) {
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *line = str_copy(cases[i].line), *found = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        char *words[WORDS_MAX];
        Args args = {0};
        int r;
        split(line, words);
        r = args_parse(verb_find(cases[i].verb), words, &args, &error);
        if (cases[i].expected[0] == '!') {
            CHECK(r < 0);
            CHECK_INT(error.kind, ERROR_USAGE);
            CHECK_CONTAINS(error.message, cases[i].expected + 1);
            CHECK_CONTAINS(error.hint, "--help");
            continue;
        }
        if (r < 0)
            fprintf(stderr, "%s: %s\n", cases[i].line, error_message(&error));
        CHECK_INT(r, 0);
        found = describe(&args);
        CHECK_STR(found, cases[i].expected);
        args_free(&args);
    }
}

static void test_values(void) {
    char *words[] = {(char *)"--memory",    (char *)"512M",       (char *)"--cpus",
                     (char *)"3",           (char *)"-e",         (char *)"A=1",
                     (char *)"-e",          (char *)"TEST_VALUE", (char *)"-e",
                     (char *)"TEST_ABSENT", (char *)"busybox",    NULL};
    _cleanup_(args_free) Args args = {0};
    _cleanup_json_ json_t *env = NULL;
    _cleanup_free_ char *text = NULL;
    setenv("TEST_VALUE", "of mine", 1);
    unsetenv("TEST_ABSENT");
    CHECK_INT(args_parse(verb_find("run"), words, &args, NULL), 0);
    CHECK_INT(args_number(&args, "memory", 0), 512 * MIB);
    CHECK_INT(args_number(&args, "cpus", 0), 3);
    CHECK_INT(args_number(&args, "disk", 7), 7);
    CHECK(!args_flag(&args, "rm") && !args.json);
    env = args_env(&args, "env");
    text = json_to_text(env);
    CHECK_STR(text, "[\"A=1\",\"TEST_VALUE=of mine\"]");
}

static const struct {
    const char *text;
    const char *expected; /* NULL: refused */
} forwards[] = {
    {"8080:80", "127.0.0.1 8080 80 tcp"},
    {"0:80", "127.0.0.1 0 80 tcp"},
    {"0.0.0.0:53:53/udp", "0.0.0.0 53 53 udp"},
    {"10.1.2.3:1:65535/tcp", "10.1.2.3 1 65535 tcp"},
    {"80", NULL},
    {":80", NULL},
    {"80:", NULL},
    {"80:0", NULL},
    {"65536:80", NULL},
    {"-1:80", NULL},
    {"1 :80", NULL},
    {"80:80/sctp", NULL},
    {"80:80/", NULL},
    {"::1:80:80", NULL},
    {"300.0.0.1:80:80", NULL},
    {":80:80", NULL},
    {"", NULL},
};

static void test_forwards(void) {
    for (size_t i = 0; i < ARRAY_SIZE(forwards); i++) {
        _cleanup_json_ json_t *forward = NULL;
        _cleanup_free_ char *found = NULL;
        int r = forward_parse(forwards[i].text, &forward, NULL);
        CHECK_INT(r < 0, forwards[i].expected == NULL);
        if (r < 0)
            continue;
        found = str_format("%s %d %d %s", json_string_value(json_object_get(forward, "host_ip")),
                           (int)json_integer_value(json_object_get(forward, "host_port")),
                           (int)json_integer_value(json_object_get(forward, "guest_port")),
                           json_string_value(json_object_get(forward, "protocol")));
        CHECK_STR(found, forwards[i].expected);
    }
}

static const struct {
    const char *verb; /* NULL: it is the verb that is wrong */
    const char *typed;
    const char *advice; /* NULL: none */
} meant[] = {
    {NULL, "image lsit", "did you mean ramet image ls?"},
    {NULL, "snapshto", "did you mean ramet snapshot?"},
    {NULL, "rnu", "did you mean ramet run?"},
    {NULL, "imagse", "did you mean ramet image ls?"},
    {NULL, "prove", "did you mean ramet snapshot prove?"},
    {NULL, "attach", "ramet shell VM"},
    {NULL, "top", "ramet exec VM -- top"},
    {NULL, "pull", "ramet image build"},
    {NULL, "frobnicate", NULL},
    {NULL, "", NULL},
    {NULL, "x", NULL},
    {"run", "naem", "did you mean --name?"},
    {"run", "detached", "did you mean --detach?"},
    {"ps", "alll", "did you mean --all?"},
    {"run", "quite-another", NULL},
};

static void test_meant(void) {
    CHECK_INT(suggest_distance("", ""), 0);
    CHECK_INT(suggest_distance("abc", "abc"), 0);
    CHECK_INT(suggest_distance("abc", "acb"), 1);
    CHECK_INT(suggest_distance("abc", "ab"), 1);
    CHECK_INT(suggest_distance("", "abc"), 3);
    CHECK(suggest_distance("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a") == SIZE_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(meant); i++) {
        const char *typed = meant[i].typed;
        _cleanup_free_ char *advice =
            meant[i].verb ? suggest_option(verb_find(meant[i].verb), typed, strlen(typed))
                          : suggest_verb(typed);
        if (meant[i].advice)
            CHECK_CONTAINS(advice ? advice : "none", meant[i].advice);
        else
            CHECK(!advice);
    }
}

/* The advice reaches who typed it. */
static void test_advice(void) {
    char *words[] = {(char *)"--naem", (char *)"x", (char *)"busybox", NULL};
    char *letters[] = {(char *)"-v", (char *)"/a:/b", (char *)"busybox", NULL};
    _cleanup_error_ Error error = ERROR_INIT, second = ERROR_INIT;
    Args args = {0};
    CHECK(args_parse(verb_find("run"), words, &args, &error) < 0);
    CHECK_STR(error.hint, "did you mean --name? (see ramet run --help)");
    CHECK(args_parse(verb_find("run"), letters, &args, &second) < 0);
    CHECK_CONTAINS(second.hint, "ramet cp");
}

/* An age is taken off the present time; what began before 1970 means everything. */
static void test_times(void) {
    uint64_t before = clock_realtime_usec(), usec;
    CHECK_INT(time_parse("10m", &usec, NULL), 0);
    CHECK(usec >= before - 600 * USEC_PER_SEC &&
          usec <= clock_realtime_usec() - 600 * USEC_PER_SEC);
    CHECK_INT(time_parse("1970-01-01T00:00:03Z", &usec, NULL), 0);
    CHECK_INT(usec, 3 * USEC_PER_SEC);
    CHECK_INT(time_parse("5000000h", &usec, NULL), 0);
    CHECK_INT(usec, 0);
    CHECK_INT(time_parse("99999999999999999999h", &usec, NULL), 0);
    CHECK_INT(usec, 0);
}

int main(void) {
    RUN(test_meant);
    RUN(test_times);
    RUN(test_advice);
    RUN(test_lines);
    RUN(test_values);
    RUN(test_forwards);
    return 0;
}
