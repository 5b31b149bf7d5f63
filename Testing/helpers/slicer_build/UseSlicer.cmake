# Stand-ins for the macros of a Slicer build that this extension uses, with upstream's arguments: what is listed is copied
# to the build tree and installed under its relative path, and what is not listed does not ship.
include(CMakeParseArguments)

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file IN LISTS MY_SCRIPTS MY_RESOURCES)
    configure_file("${CMAKE_CURRENT_SOURCE_DIR}/${file}"
      "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${file}" COPYONLY)
    get_filename_component(folder "${file}" DIRECTORY)
    install(FILES "${file}"
      DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}/${folder}" COMPONENT RuntimeLibraries)
  endforeach()
endmacro()

macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
    message(FATAL_ERROR "There is no test script ${MY_SCRIPT}.")
  endif()
  get_filename_component(name "${MY_SCRIPT}" NAME_WE)
  add_test(NAME "py_${name}" COMMAND "${Slicer_LAUNCHER_EXECUTABLE}" --testing --no-main-window
    --python-script "${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT}")
endmacro()
