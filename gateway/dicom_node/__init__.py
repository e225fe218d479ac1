"""A DICOM node beside a PACS: takes studies by C-STORE, has them graded by a gateway, and sends the results back.

It talks to the gateway through the public API alone, so that it may run on another machine.
"""
