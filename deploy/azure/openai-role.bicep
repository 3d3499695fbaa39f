// Lets Parley's identity call the deployments of an Azure OpenAI resource, which may be in another resource group.
param account string
param principalId string
param roleId string

resource openAi 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: account
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(openAi.id, principalId, roleId)
  scope: openAi
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleId)
  }
}
