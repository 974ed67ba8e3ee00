// The library itself: errors, logs, backends.
#include "host.hpp"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "mtmd-helper.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
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

std::string cpu_features() {
    const struct {
        int (*has)();
        const char * name;
    } features[] = {
        {ggml_cpu_has_sse3, "SSE3"},         {ggml_cpu_has_ssse3, "SSSE3"},
        {ggml_cpu_has_avx, "AVX"},           {ggml_cpu_has_avx2, "AVX2"},
        {ggml_cpu_has_fma, "FMA"},           {ggml_cpu_has_f16c, "F16C"},
        {ggml_cpu_has_bmi2, "BMI2"},         {ggml_cpu_has_avx_vnni, "AVX_VNNI"},
        {ggml_cpu_has_avx512, "AVX512"},     {ggml_cpu_has_avx512_vnni, "AVX512_VNNI"},
        {ggml_cpu_has_neon, "NEON"},         {ggml_cpu_has_dotprod, "DOTPROD"},
    };
    std::string names;
    for (const auto & feature : features) {
        if (feature.has()) {
            names += (names.empty() ? "" : " ");
            names += feature.name;
        }
    }
    return names.empty() ? "none" : names;
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
            // Without a path ggml looks beside the java executable. Backends linked into ggml are there already.
            if (ggml_backend_dev_count() == 0) {
                ggml_backend_load_all_from_path(backend_directory);
            }
            llama_backend_init();
        });
        if (ggml_backend_dev_count() == 0) {
            eq::fail(EQ_UNAVAILABLE, "no compute backend in %s", backend_directory ? backend_directory : "(no path)");
        }
    });
}

const char * eq_cpu_variant(void) { return EQUIPOISE_CPU_VARIANT; }

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
