from django import forms

from annotations.models.membership import Role


class InvitationForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ANNOTATOR)
    email = forms.EmailField(required=False, help_text="Where to send the link. Leave empty to pass it on yourself.")
