// The library itself: errors, logs, backends.
#include "host.hpp"
#include "products.hpp"

#include "ggml-backend.h"
#include "mtmd-helper.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <mutex>

std::atomic<int64_t> eq::counted::live{0};

namespace {

thread_local std::string last_error;
thread_local std::string errors_logged;

struct log_line {
    int32_t     level;
    std::string text;
};

// Lines wait here until Java asks: an upcall from llama.cpp's threads could meet a JVM that is shutting down.
constexpr size_t     max_log_lines = 4096;
std::mutex           log_mutex;
std::deque<log_line> log_lines;
log_line             log_partial{0, {}};

int32_t level_of(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_ERROR: return 4;
        case GGML_LOG_LEVEL_WARN:  return 3;
        case GGML_LOG_LEVEL_INFO:  return 2;
        default:                   return 1;
    }
}

void take_log(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR && errors_logged.size() < 2000) {
        errors_logged += text;
    }
    const std::lock_guard lock(log_mutex);
    // GGML_LOG_LEVEL_CONT carries on the line before; a line is done at its newline.
    if (level != GGML_LOG_LEVEL_CONT) {
        log_partial.level = level_of(level);
    }
    log_partial.text += text;
    size_t end;
    while ((end = log_partial.text.find('\n')) != std::string::npos) {
        if (end > 0) {
            if (log_lines.size() == max_log_lines) {
                log_lines.pop_front();
            }
            log_lines.push_back({log_partial.level, log_partial.text.substr(0, end)});
        }
        log_partial.text.erase(0, end + 1);
    }
}

// The library that a symbol is from, or nothing.
std::string file_of(const void * symbol) {
    Dl_info found = {};
    return symbol && dladdr(symbol, &found) && found.dli_fname ? found.dli_fname : "";
}

// ggml's CPU backend may be one of many libraries, loaded when we start: it is asked through its registry, never linked.
void * cpu_features_function() {
    ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
    return cpu ? ggml_backend_reg_get_proc_address(cpu, "ggml_backend_get_features") : nullptr;
}

std::string cpu_features() {
    const auto  list = reinterpret_cast<ggml_backend_get_features_t>(cpu_features_function());
    std::string names;
    for (const ggml_backend_feature * one = list ? list(ggml_backend_reg_by_name("CPU")) : nullptr; one && one->name;
         one++) {
        if (strcmp(one->value, "1") == 0) {
            names += (names.empty() ? "" : " ");
            names += one->name;
        }
    }
    return names.empty() ? "none" : names;
}

// libggml-cpu-NAME.so where there are many; else the one that was built.
std::string cpu_variant() {
    const std::string file   = file_of(cpu_features_function());
    const std::string prefix = "ggml-cpu-";
    const size_t      from   = file.rfind(prefix);
    const size_t      to     = file.rfind('.');
    return from == std::string::npos || to == std::string::npos || to < from + prefix.size()
               ? EQUIPOISE_CPU_VARIANT
               : file.substr(from + prefix.size(), to - from - prefix.size());
}

} // namespace

namespace eq {

void fail(int32_t status, const char * format, ...) {
    char    text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    throw error(status, text);
}

void set_last_error(const std::string & text) { last_error = text; }

void clear_error_log() { errors_logged.clear(); }

std::string error_log() {
    std::string text = errors_logged;
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.empty() ? "no reason was given" : text;
}

} // namespace eq

uint32_t eq_abi_version(void) { return EQ_ABI_VERSION; }

const char * eq_llama_version(void) { return EQUIPOISE_LLAMA_VERSION; }

const char * eq_patch_hash(void) { return EQUIPOISE_LLAMA_PATCH; }

const char * eq_last_error(void) { return last_error.c_str(); }

int32_t eq_start(const char * backend_directory) {
    return eq::guard([&] {
        static std::once_flag once;
        std::call_once(once, [&] {
            llama_log_set(take_log, nullptr);
            mtmd_helper_log_set(take_log, nullptr);
            // Without a path ggml looks beside the java executable. Backends linked into ggml are there already; others
            // lie beside it, wherever that is.
            if (ggml_backend_dev_count() == 0 && backend_directory && *backend_directory) {
                ggml_backend_load_all_from_path(backend_directory);
            }
            if (ggml_backend_dev_count() == 0) {
                const std::string ggml = file_of(reinterpret_cast<const void *>(&ggml_backend_load_all_from_path));
                ggml_backend_load_all_from_path(ggml.substr(0, ggml.rfind('/') + 1).c_str());
            }
            llama_backend_init();
            eq::start_products();
        });
        if (ggml_backend_dev_count() == 0) {
            eq::fail(EQ_UNAVAILABLE, "no compute backend in %s", backend_directory ? backend_directory : "(no path)");
        }
    });
}

const char * eq_cpu_variant(void) {
    static const std::string variant = cpu_variant();
    return variant.c_str();
}

const char * eq_cpu_features(void) {
    static const std::string features = cpu_features();
    return features.c_str();
}

const char * eq_gpu_name(int32_t index) {
    int32_t seen = 0;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_GPU && seen++ == index) {
            return ggml_backend_dev_description(device);
        }
    }
    return nullptr;
}

int32_t eq_log_next(char * text, int32_t capacity) {
    if (!text || capacity < 1) {
        return 0;
    }
    const std::lock_guard lock(log_mutex);
    if (log_lines.empty()) {
        return 0;
    }
    const int32_t level = log_lines.front().level;
    snprintf(text, (size_t) capacity, "%s", log_lines.front().text.c_str());
    log_lines.pop_front();
    return level;
}

int64_t eq_live_objects(void) { return eq::counted::live.load(); }
