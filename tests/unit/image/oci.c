/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/str.h"
#include "check.h"
#include "image/oci/oci_manifest.h"
#include "image/oci/oci_policy.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define IMAGE_CONFIG "\"mediaType\":\"application/vnd.oci.image.config.v1+json\""

static void test_references(void) {
    static const struct {
        const char *text, *repository, *folder, *tag, *digest, *name;
    } good[] = {
        {"docker://nginx", "nginx", NULL, NULL, "", "nginx"},
        {"docker://localhost:5000/a/web:1.2", "localhost:5000/a/web", NULL, "1.2", "", "web"},
        {"docker://host:5000/web", "host:5000/web", NULL, NULL, "", "web"},
        {"docker://r/web:1@sha256:" HEX_A, "r/web", NULL, "1", HEX_A, "web"},
        {"oci:/srv/layout:v1", NULL, "/srv/layout", "v1", "", "layout"},
        {"oci:/srv/a:b/layout/", NULL, "/srv/a:b/layout/", NULL, "", "layout"},
        {"oci-archive:/srv/web.tar", NULL, NULL, NULL, "", "web"},
        {"docker-archive:/srv/v1.2.tar.gz:r:5000/web:1", NULL, NULL, "r:5000/web:1", "", "v1.2"},
    };
    static const char *const bad[] = {"",
                                      "nginx",
                                      "docker://",
                                      "docker://-x",
                                      "oci:",
                                      "oci:relative",
                                      "docker://a b",
                                      "docker://a@sha256:1",
                                      "http://",
                                      "docker://a$(x)",
                                      "docker://:tag",
                                      "oci-archive:web.tar",
                                      "docker-archive:",
                                      "docker-archive:/a:",
                                      "docker-archive:/a:-x"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        _cleanup_(oci_reference_free) OciReference reference = {0};
        _cleanup_free_ char *name = NULL;
        CHECK_INT(oci_reference_parse(good[i].text, &reference, NULL), 0);
        CHECK(str_equal(reference.repository, good[i].repository));
        CHECK(str_equal(reference.folder, good[i].folder));
        CHECK(str_equal(reference.tag, good[i].tag));
        CHECK_STR(reference.digest, good[i].digest);
        CHECK_INT(oci_reference_name(&reference, &name, NULL), 0);
        CHECK_STR(name, good[i].name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        OciReference reference;
        CHECK(oci_reference_parse(bad[i], &reference, &error) < 0);
        CHECK_INT(error.kind, ERROR_USAGE);
    }
}

static void test_platforms(void) {
    OciPlatform platform;
    CHECK_INT(oci_platform_parse(NULL, &platform, NULL), 0);
    CHECK_STR(platform.architecture, "amd64");
    CHECK_INT(oci_platform_parse("linux/arm/v7", &platform, NULL), 0);
    CHECK_STR(platform.variant, "v7");
    CHECK(oci_platform_parse("linux", &platform, NULL) < 0);
    CHECK(oci_platform_parse("linux/", &platform, NULL) < 0);
    CHECK(oci_platform_parse("linux/a/b/c", &platform, NULL) < 0);
    CHECK(oci_platform_parse("li nux/a", &platform, NULL) < 0);
}

static int parse(const char *text, OciManifest *manifest, Error *error) {
    return oci_manifest_parse(text, strlen(text), manifest, error);
}

static void refuse(const char *text, ErrorKind kind, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    OciManifest manifest;
    CHECK(parse(text, &manifest, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK_CONTAINS(error_message(&error), part);
}

static void test_manifest(void) {
    _cleanup_(oci_manifest_free) OciManifest manifest = {0};
    CHECK_INT(parse("{\"schemaVersion\":2,\"config\":{" IMAGE_CONFIG ",\"digest\":\"sha256:" HEX_A
                    "\",\"size\":7},\"layers\":[{\"digest\":\"sha256:" HEX_B "\",\"size\":9}]}",
                    &manifest, NULL),
              0);
    CHECK(!manifest.is_index);
    CHECK_STR(manifest.config.digest, HEX_A);
    CHECK_INT(manifest.n_items, 1);
    CHECK_STR(manifest.items[0].digest, HEX_B);
    CHECK_STR(manifest.archive, "");
    oci_manifest_free(&manifest);
    CHECK_INT(parse("{\"config\":{\"mediaType\":\"application/vnd.ramet.image.v1+json\",\"digest\":"
                    "\"sha256:" HEX_A "\",\"size\":7},\"layers\":[{\"digest\":\"sha256:" HEX_B
                    "\",\"size\":9,\"annotations\":{\"org.opencontainers.image.title\":"
                    "\"member-disk\"}}]}",
                    &manifest, NULL),
              0);
    CHECK_STR(manifest.archive, "image");
    CHECK_STR(manifest.items[0].title, "member-disk");
    refuse("[]", ERROR_CORRUPT, "no JSON object");
    refuse("{", ERROR_CORRUPT, "manifest");
    refuse("{\"schemaVersion\":1}", ERROR_UNSUPPORTED, "first kind");
    refuse("{\"config\":{\"mediaType\":\"application/x\"}}", ERROR_CORRUPT,
           "no image of a container");
    refuse("{\"config\":{" IMAGE_CONFIG ",\"digest\":\"sha512:1\"}}", ERROR_UNSUPPORTED,
           "another kind");
    refuse("{\"config\":{" IMAGE_CONFIG ",\"digest\":\"sha256:../../x\",\"size\":1}}",
           ERROR_CORRUPT, "digest");
    refuse("{\"manifests\":[{\"digest\":\"sha256:" HEX_A "\",\"size\":-1}]}", ERROR_CORRUPT,
           "size");
    refuse("{\"manifests\":[],\"layers\":[]}", ERROR_CORRUPT, "an image and an index");
}

#define ENTRY(hex, platform) \
    "{\"digest\":\"sha256:" hex "\",\"size\":1,\"platform\":{" platform "}}"

static void test_choose(void) {
    _cleanup_(oci_manifest_free) OciManifest index = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    OciPlatform wanted = {"linux", "arm", "v7"};
    const OciDescriptor *entry;
    CHECK_INT(
        parse("{\"manifests\":[" ENTRY(
                  HEX_A, "\"os\":\"linux\",\"architecture\":\"arm\","
                         "\"variant\":\"v6\"") "," ENTRY(HEX_B, "\"os\":\"linux\",\"architecture\":"
                                                                "\"arm\",\"variant\":\"v7\"") "]}",
              &index, NULL),
        0);
    CHECK_INT(oci_index_choose(&index, &wanted, &entry, NULL), 0);
    CHECK_STR(entry->digest, HEX_B);
    wanted.variant[0] = '\0';
    CHECK_INT(oci_index_choose(&index, &wanted, &entry, NULL), 0);
    CHECK_STR(entry->digest, HEX_A);
    str_set(wanted.architecture, "amd64");
    CHECK(oci_index_choose(&index, &wanted, &entry, &error) < 0);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    CHECK_CONTAINS(error_message(&error), "linux/arm/v6, linux/arm/v7");
}

static void test_config(void) {
    static const char text[] =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Entrypoint\":[\"/x\"],"
        "\"Cmd\":[\"a\",\"b\"],\"Env\":[\"A=1\"],\"User\":\"1:2\",\"WorkingDir\":\"/"
        "w\",\"ExposedPorts\":"
        "{\"80/tcp\":{},\"53/udp\":{},\"7\":{},\"9/sctp\":{},\"0/"
        "tcp\":{}},\"StopSignal\":\"SIGQUIT\",\"Volumes\":{\"/data\":{},\"\":{}}},"
        "\"rootfs\":{\"diff_ids\":[\"sha256:" HEX_A "\"]}}";
    static const char *const bad[] = {
        "{\"rootfs\":{}}",
        "{\"rootfs\":{\"diff_ids\":[1]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Cmd\":\"sh\"}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Cmd\":[1]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":[\"x\"]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"StopSignal\":\"SIGNONE\"}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":7}}",
    };
    _cleanup_(oci_config_free) OciConfig config = {0};
    CHECK_INT(oci_config_parse(text, strlen(text), &config, NULL), 0);
    CHECK_INT(config.n_decoded, 1);
    CHECK_INT(json_integer_value(json_object_get(config.settings, "stop_signal")), 3);
    CHECK_INT(json_array_size(json_object_get(config.settings, "ports")), 3);
    CHECK_STR(json_string_value(json_object_get(config.settings, "user")), "1:2");
    CHECK_INT(config.volumes.count, 1);
    CHECK_STR(config.volumes.items[0], "/data");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        OciConfig none;
        CHECK(oci_config_parse(bad[i], strlen(bad[i]), &none, &error) < 0);
        CHECK_INT(error.kind, ERROR_CORRUPT);
    }
    CHECK_INT(oci_signal_number("TERM"), 15);
    CHECK_INT(oci_signal_number("9"), 9);
    CHECK_INT(oci_signal_number("SIGRTMIN+3"), 37);
    CHECK_INT(oci_signal_number("65"), 0);
}

/* Whether there is anything to judge; what cannot be read is for skopeo to refuse. */
static void test_policies(void) {
#define ALL "[{\"type\":\"insecureAcceptAnything\"}]"
    static const struct {
        const char *text;
        bool all;
    } policies[] = {
        {"{\"default\":" ALL "}", true},
        {"{\"default\":" ALL ",\"transports\":{\"docker\":{\"\":" ALL "}}}", true},
        {"{\"default\":[{\"type\":\"reject\"}]}", false},
        {"{\"default\":" ALL ",\"transports\":{\"docker\":{\"r/a\":[{\"type\":\"signedBy\"}]}}}",
         false},
        {"{\"default\":" ALL ",\"transports\":{\"docker\":[]}}", false},
        {"{\"default\":[]}", false},
        {"{\"default\":[{\"type\":1}]}", false},
        {"{}", false},
        {"{", false},
    };
    char path[] = "/tmp/ramet-test-policy-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        size_t size = strlen(policies[i].text);
        CHECK_INT(ftruncate(fd, 0), 0);
        CHECK_INT(pwrite(fd, policies[i].text, size, 0), (ssize_t)size);
        CHECK_INT(oci_policy_file_accepts_all(path), policies[i].all);
    }
    CHECK_INT(close(fd), 0);
    CHECK_INT(unlink(path), 0);
    CHECK(!oci_policy_file_accepts_all(path));
}

int main(void) {
    RUN(test_references);
    RUN(test_platforms);
    RUN(test_manifest);
    RUN(test_choose);
    RUN(test_config);
    RUN(test_policies);
    return 0;
}
