# Adds the CUDA kernels, or their stand-ins that answer "unavailable".
set(eqk_cuda_found OFF)
if(NOT EQUIPOISE_CUDA STREQUAL "OFF" AND NOT EQUIPOISE_EMULATED_DEVICE)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
        # Ampere and Hopper as machine code; later devices compile the last one's PTX.
        set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
    endif()
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        set(eqk_cuda_found ON)
    elseif(EQUIPOISE_CUDA STREQUAL "ON")
        message(FATAL_ERROR "EQUIPOISE_CUDA is ON, but no nvcc was found: put it on PATH or set CMAKE_CUDA_COMPILER")
    endif()
endif()

if(eqk_cuda_found)
    enable_language(CUDA)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    add_library(equipoise-kernels-cuda OBJECT cuda/rows.cu cuda/columns.cu cuda/mask.cu cuda/attention.cu
                cuda/exits.cu cuda/host_door.cu)
    target_include_directories(equipoise-kernels-cuda PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}
                               ${CMAKE_CURRENT_SOURCE_DIR}/../include)
    # -std by hand: CMake 3.25 does not know which standards nvcc 13 has.
    target_compile_options(equipoise-kernels-cuda PRIVATE
        -std=c++20 -Xcompiler=-Wall,-Wextra,-Werror -Werror=all-warnings)
    set_target_properties(equipoise-kernels-cuda PROPERTIES
        POSITION_INDEPENDENT_CODE ON
        CUDA_VISIBILITY_PRESET hidden)
    target_link_libraries(equipoise-kernels PRIVATE equipoise-kernels-cuda)
else()
    target_sources(equipoise-kernels PRIVATE cuda/absent.cpp)
    if(EQUIPOISE_EMULATED_DEVICE)
        target_sources(equipoise-kernels PRIVATE cuda/emulated.cpp)
        target_include_directories(equipoise-kernels PRIVATE
            ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/../tests/kernels)
        target_compile_definitions(equipoise-kernels PRIVATE EQUIPOISE_EMULATED_DEVICE)
    endif()
endif()
message(STATUS "Equipoise kernels: CUDA ${eqk_cuda_found}")
